package policy

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/shell"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// config is one with the given egresses; route n has the number n, the first is 1.
func config(routes ...gateway.Route) *gateway.Config {
	cfg := &gateway.Config{
		LAN: []string{"lan0"}, Mask: gateway.DefaultMask, Priority: gateway.DefaultPriority,
	}
	for i, r := range routes {
		r.Number = i + 1
		r.Mark = cfg.Mask.Mark(r.Number)
		r.Table, r.Priority = gateway.DefaultTable+r.Number, cfg.Priority+r.Number
		cfg.Routes = append(cfg.Routes, r)
	}
	return cfg
}

func wireguard(name, link string) gateway.Route {
	return gateway.Route{Name: name, Egress: gateway.Egress{Kind: gateway.EgressWireGuard, Link: link}}
}

func byInterface(name, link string) gateway.Route {
	return gateway.Route{Name: name, Egress: gateway.Egress{Kind: gateway.EgressInterface, Link: link}}
}

func byNextHop(name, link string, hops ...string) gateway.Route {
	r := gateway.Route{Name: name, Egress: gateway.Egress{Kind: gateway.EgressNextHop, Link: link}}
	for _, h := range hops {
		r.Egress.NextHops = append(r.Egress.NextHops, netip.MustParseAddr(h))
	}
	return r
}

// run executes commands, one a line.
var run = shell.Run

// lab empties the namespace and makes wan0 and lan0 (veth, their other ends up)
// and wg0 (a TUN in place of a tunnel), each with addresses of both families.
func lab(t testing.TB) *Kernel {
	t.Helper()
	netlab.Need(t, "ip")
	k, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Close()
		clean(t)
	})
	clean(t)
	tunnel, err := tun.CreateTUN("wg0", 1420)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tunnel.Close() })
	run(t, `
ip link add wan0 type veth peer name isp0
ip link add lan0 type veth peer name pc0
for l in wan0 isp0 lan0 pc0 wg0; do sysctl -qw net.ipv6.conf.$l.accept_dad=0; ip link set $l up; done
ip addr add 192.0.2.2/24 dev wan0
ip addr add 2001:db8:1::2/64 dev wan0 nodad
ip addr add 192.168.1.1/24 dev lan0
ip addr add fd00:1::1/64 dev lan0 nodad
ip addr add 10.8.0.2/24 dev wg0
ip addr add fd00:8::2/64 dev wg0 nodad
ip route add default via 192.0.2.1 dev wan0
ip -6 route add default via 2001:db8:1::1 dev wan0
`)
	awaitOwn(t, "2001:db8:1::2", "fd00:1::1", "fd00:8::2")
	return k
}

// awaitOwn waits for the kernel routes to IPv6 addresses of the box, which come a little
// later than those.
func awaitOwn(t testing.TB, addrs ...string) {
	t.Helper()
	for _, a := range addrs {
		soon(t, a+" is an address of the box", func() bool {
			return strings.Contains(run(t, "ip -6 route show table local"), "local "+a+" ")
		})
	}
}

func clean(t testing.TB) {
	t.Helper()
	links, err := nlretry.Dump(netlink.LinkList)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Attrs().Name != "lo" {
			_ = netlink.LinkDel(l) // a veth's other end goes with it
		}
	}
	for _, f := range []string{"-4", "-6"} {
		for _, line := range strings.Split(run(t, "ip "+f+" rule"), "\n") {
			pref, _, ok := strings.Cut(line, ":")
			if ok && pref != "0" && pref != "32766" && pref != "32767" {
				run(t, "ip "+f+" rule del pref "+pref)
			}
		}
		// ip(8) does not flush unreachable routes of IPv6.
		run(t, "ip "+f+" route show table all | grep -E 'unreachable|blackhole' | while read -r r; do ip "+f+" route del $r; done")
		for table := range strings.FieldsSeq("main " + tables(t, f)) {
			run(t, "ip "+f+" route flush table "+table)
		}
	}
	run(t, "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0")
}

// tables lists the numbers of tables besides local, main and default.
func tables(t testing.TB, family string) string {
	return run(t, "ip "+family+" route show table all | grep -o 'table [0-9]*' | cut -d' ' -f2 | sort -un || true")
}

// apply reads and applies, and fails on any error.
func apply(t *testing.T, k *Kernel, cfg *gateway.Config) []string {
	t.Helper()
	now := read(t, k, cfg)
	changes, err := k.Apply(now.State, Desired(cfg, now.Inputs))
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func read(t testing.TB, k *Kernel, cfg *gateway.Config) Snapshot {
	t.Helper()
	s, err := k.Read(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shown is what ip(8) shows of ours, under the same titles as State.String.
func shown(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for _, f := range []string{"4", "6"} {
		if out := run(t, "ip -"+f+" rule | grep 'proto 110' || true"); out != "" {
			fmt.Fprintf(&b, "# ip -%s rule\n%s", f, out)
		}
	}
	for _, f := range []string{"4", "6"} {
		for table := range strings.FieldsSeq(tables(t, "-"+f)) {
			fmt.Fprintf(&b, "# ip -%s route show table %s\n%s", f, table, run(t, "ip -"+f+" route show table "+table))
		}
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(strings.Replace(lines[i], " linkdown", "", 1), " ")
	}
	return strings.Join(lines, "\n")
}

// egress returns the interface that the kernel routes a marked packet to an address out
// of, or its error.
func egress(t *testing.T, to string, mark uint32) string {
	t.Helper()
	routes, err := netlink.RouteGetWithOptions(netip.MustParseAddr(to).AsSlice(), &netlink.RouteGetOptions{Mark: mark})
	if err != nil {
		return err.Error()
	}
	l, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Name
}

func wantEgress(t *testing.T, mark gateway.Mark, want string, to ...string) {
	t.Helper()
	for _, a := range to {
		// Bits outside the mask belong to other programs and change nothing.
		for _, full := range []uint32{mark.Value, mark.Value | 0x1234} {
			if got := egress(t, a, full); got != want {
				t.Errorf("%s with mark %#x: %s, want %s", a, full, got, want)
			}
		}
	}
}

// soon waits until a condition holds and tells how long that took.
func soon(t testing.TB, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	netlab.Eventually(t, 15*time.Second, func() error { return netlab.Check(ok(), "%s", what) })
	return time.Since(start)
}

func sysctl(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func contains(list []string, part string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) })
}
