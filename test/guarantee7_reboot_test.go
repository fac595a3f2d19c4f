package test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 7: restart, reload, upgrade, crash, flush: nothing is lost.
// What a reboot leaves is the disk. Before anybody has asked anything, clients that
// remember an address of a listed name are routed via the tunnel again, and none of
// their packets leaves via the WAN at any time from link-up on.
func TestReboot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		forward bool // something else switches forwarding on at boot, so nameroute-early holds packets
		power   bool // the power went, and nothing could be stored
	}{
		{"forwarding comes last", false, false},
		{"held by nameroute-early", true, false},
		{"after a loss of power", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true, NotRouting: true})
			g.Box.WriteFiles(netlab.Setup{Gateway: "lifetime: {floor: 2s, grace: 1s, ceiling: 24h}"})
			// The cache would make more of a TTL of a second.
			corefile := g.Box.Run("cat", g.Box.Dir+"/Corefile")
			g.Box.Write("Corefile", strings.ReplaceAll(corefile, "    cache\n", "    cache {\n        success 9984 3600 0\n    }\n"))
			g.World.Add("www.listed.example. 300 IN CNAME edge.cdn.example.")
			g.World.TTL("short.listed.example", 1)
			g.start()
			asked := time.Now()
			known := append(g.resolve("known.listed.example"), g.resolve("www.listed.example")...)
			if c.power {
				// Addresses are stored within a minute of being learned, and at a start.
				g.stop(g.p)
				g.start()
			}
			short := g.resolve("short.listed.example")
			lapse := time.Now().Add(2500 * time.Millisecond)
			tcp := g.Client.Flow(known[0])
			g.Reset()
			var all []*datagrams
			for _, a := range known {
				all = append(all, g.datagrams(g.Client, a, netlab.ViaVPN))
			}
			if c.power {
				g.p.Kill()
			} else {
				g.stop(g.p)
			}
			g.reboot(c.forward)
			opened := g.floodFrom([]*netlab.Host{g.Client}, netlab.ViaVPN, known...)
			time.Sleep(time.Until(lapse))

			began := time.Now()
			g.linksUp()
			g.p = g.Box.Launch(binary, "run")
			g.logs(g.p)
			g.p.WaitOutput("nameroute: started", 15*time.Second)
			t.Logf("it runs %v after the links came up", time.Since(began).Round(time.Millisecond))
			for _, a := range known {
				// 300 s of TTL and 1 s of grace, less what has gone by since.
				if left, least := g.left(a), 299*time.Second-time.Since(asked); left < least || left > 301*time.Second {
					t.Errorf("%s lives for another %v before anybody asked, want %v at least", a, left, least)
				}
			}
			g.wantElements(false, short...)
			if c.forward {
				g.Box.Run("nft", "delete", "table", "inet", "nameroute_early") // as ExecStartPost= does
			}
			for _, d := range all {
				if !d.progress(goesOnWithin) {
					t.Errorf("datagrams to %s are not answered after the reboot", d.to)
				}
			}
			t.Logf("remembered addresses are answered %v after the links came up", time.Since(began).Round(time.Millisecond))
			g.wantVia(g.Client, netlab.ViaVPN, known...)
			t.Logf("the TCP connection from before the reboot: %s", tcp.Report())
			t.Logf("%d new flows meanwhile", opened.stop(g))

			alias := g.resolve("edge.cdn.example") // the first query, of a name on no list
			g.wantAsked(netlab.ViaVPN, g.World.Queries("edge.cdn.example"))
			g.wantVia(g.Client, netlab.ViaVPN, alias...)
			g.wantNoneClear(append(known, alias...)...)
			g.wantNoQueryByWAN("listed.example")

			for _, d := range all {
				d.conn.Close() // from here on they would go via the WAN, as they should
			}
			// What the sysctls were in another boot does not matter in this one.
			g.nameroute("down")
			want := "net.ipv4.ip_forward = 0\nnet.ipv6.conf.all.forwarding = 0\n"
			if c.forward {
				want = strings.ReplaceAll(want, "= 0", "= 1")
			}
			if got := g.Box.Run("sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"); got != want {
				t.Errorf("after down:\n%swant what this boot began with:\n%s", got, want)
			}
		})
	}
}

// killHolder kills the process that holds the table while no nameroute runs.
func (g *gate) killHolder() {
	g.t.Helper()
	for _, pid := range g.holders() {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (g *gate) holders() []int { return holders(g.Box.Namespace) }

func holders(n *netlab.Namespace) (pids []int) {
	for _, pid := range n.Pids() {
		if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.HasPrefix(string(args), binary+"\x00hold") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// reboot takes from the box what a machine that is switched off loses: links, kernel
// routes, rules, the ruleset, connections, sysctls, /run, and the id of the boot. The
// process has ended. With forward the system has forwarding on and nameroute-early enabled.
func (g *gate) reboot(forward bool) {
	g.t.Helper()
	g.WANDown()
	g.killHolder()
	id := filepath.Join(g.Dir, "boot_id")
	if err := os.WriteFile(id, []byte("5e55a99e-0000-4000-8000-000000000002\n"), 0o644); err != nil {
		g.t.Fatal(err)
	}
	g.Box.Sh(`ip link set lan0 down
		ip link del wg0
		for family in -4 -6; do
			ip $family rule flush
			ip $family rule add lookup main pref 32766
			for table in $(ip $family route show table all proto 110 | sed 's/.* table \([0-9]*\) .*/\1/' | sort -u); do
				ip $family route flush table $table
				ip $family route del unreachable default metric 4294967295 table $table 2>/dev/null || true
			done
		done
		ip -4 rule add lookup default pref 32767
		sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
		nft flush ruleset
		conntrack -F 2>/dev/null
		rm -rf /run/nameroute /run/wireguard
		mount --bind ` + id + ` /proc/sys/kernel/random/boot_id`)
	if left := g.Box.Sh("nft list tables; ip rule; ip -6 rule; ip route show table all proto 110; ip -6 route show table all proto 110"); strings.Contains(left, "nameroute") || strings.Contains(left, "72") {
		g.t.Fatalf("that is no reboot, there is still:\n%s", left)
	}
	if forward {
		early, err := filepath.Abs("../packaging/early.nft")
		if err != nil {
			g.t.Fatal(err)
		}
		g.Box.Run("nft", "-f", early)
		g.Box.Sysctl("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1")
	}
	g.Box.NFT(`table inet box_firewall {
		chain postrouting { type nat hook postrouting priority srcnat; oifname wan0 masquerade; }
	}`)
}

// linksUp is what the box's network scripts do at boot.
func (g *gate) linksUp() {
	g.t.Helper()
	g.Box.Up("lan0")
	g.WANUp()
}

// left is for how long the kernel still keeps an address of route vpn; 0 is not at all.
func (g *gate) left(a netip.Addr) time.Duration {
	g.t.Helper()
	out, err := g.element(a)
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(out, "expires ")
	text, _, _ := strings.Cut(strings.Fields(after + " ?")[0], ",")
	left, err := time.ParseDuration(text)
	if err != nil {
		g.t.Fatalf("element %s: %v\n%s", a, err, out)
	}
	return left
}
