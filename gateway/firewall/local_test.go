package firewall_test

import (
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/test/netlab"
)

// TestPacketsLocalNetworkWithdrawn: guarantees 4, kill switch, and 5, no routing loops. A
// network of listed addresses is local while the kernel has it, and the moment it has it no
// longer nothing to them leaves by the WAN, though neither our table nor the route's hears
// of it here: new flows and old, forwarded and own. Flows go on when it is back.
func TestPacketsLocalNetworkWithdrawn(t *testing.T) {
	lab(t)
	sh(t, `for f in -4 -6; do ip $f rule del pref 7200
ip $f rule add fwmark 0x7f000000/0x7f000000 lookup main suppress_prefixlength $([ $f = -4 ] && echo 1 || echo 7) pref 7200
ip $f rule add not fwmark 0/0x7f000000 lookup main suppress_prefixlength $([ $f = -4 ] && echo 1 || echo 7) pref 7328
ip $f rule add not fwmark 0/0x7f000000 unreachable pref 7329; done
for n in 192.168.1.0/24 192.168.2.0/24 5.5.5.0/24; do ip route add throw $n table 7201; done
for n in fd00:1::/64 fd00:2::/64 fd00:5::/64; do ip -6 route add throw $n table 7201; done
ip -n guest addr add 8.8.8.8/24 dev eth0; ip -n guest addr add 2606:4700::1/64 dev eth0 nodad
for d in lo guest0; do sysctl -qw net.ipv6.conf.$d.keep_addr_on_down=1; done
ip netns exec isp nft 'table inet seen { chain c { type filter hook prerouting priority -300
	ip daddr 8.8.8.8 counter
	ip6 daddr 2606:4700::1 counter
}
}'`)
	t.Cleanup(func() { sh(t, "for f in -4 -6; do ip $f rule del pref 7328; ip $f rule del pref 7329; done") })
	back := func() {
		sh(t, `ip link set guest0 up; ip addr replace 8.8.8.1/24 dev guest0; ip -6 addr replace 2606:4700::2/64 dev guest0 nodad
ip route replace throw 8.8.8.0/24 table 7201; ip -6 route replace throw 2606:4700::/64 table 7201`)
	}
	back()
	for _, f := range families {
		serve(t, "guest", addr(f.listed), 7)
		serve(t, "isp", addr(map[string]string{"IPv4": "5.5.5.1", "IPv6": "fd00:5::1"}[f.name]), 7)
	}
	k := open(t, learned.Options{})
	without, with := labSpec(), labSpec()
	with.Local = append(with.Local, prefixes("8.8.8.0/24", "2606:4700::/64")...)
	apply(t, k, with)
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1", "5.5.5.1", "fd00:5::1")
	unseen := func(when string) {
		t.Helper()
		if out := sh(t, "ip netns exec isp nft list table inet seen"); strings.Count(out, "packets 0 ") != 2 {
			t.Errorf("%s, the WAN saw\n%s", when, out)
		}
	}
	old := map[string]flow{}
	source := map[string]string{}
	for _, f := range families {
		for _, ns := range []string{"client", ""} {
			source[f.name] = f.client
			if ns == "" {
				source[f.name] = map[string]string{"IPv4": "8.8.8.1", "IPv6": "2606:4700::2"}[f.name]
			}
			expect(t, ns, f.listed, "guest "+source[f.name])
			for _, network := range []string{"udp", "tcp"} {
				c, err := connect(t, ns, network, "", f.listed)
				if err != nil || c.ask() == "" {
					t.Fatalf("while it is local: %v", err)
				}
				old[f.name+" "+network+" from "+ns] = c
			}
		}
	}
	expect(t, "", "5.5.5.1", "isp 5.5.5.2") // the WAN's own network is local, too
	expect(t, "", "fd00:5::1", "isp fd00:5::2")
	expect(t, "client", "5.5.5.1", "isp 192.168.1.10")
	// What a socket sends by the route has no other way, and a local network is one.
	for _, f := range families {
		if got := chosen(t, mask.Mark(1), f.listed); got != "" {
			t.Errorf("a socket with the mark of vpn is answered by %q", got)
		}
	}
	for _, c := range []struct{ name, withdraw string }{
		{"address removed", "ip addr del 8.8.8.1/24 dev guest0; ip -6 addr del 2606:4700::2/64 dev guest0"},
		{"link down", "ip link set guest0 down"},
	} {
		silent := func(when string) {
			t.Helper()
			var all sync.WaitGroup
			for who, f := range old {
				all.Go(func() {
					if got := f.askWithin(moment); strings.HasPrefix(got, "isp") {
						t.Errorf("%s, %s: %s: answered by %q", c.name, when, who, got)
					}
				})
			}
			all.Wait()
			unseen(c.name + ", " + when)
		}
		sh(t, "%s", c.withdraw)
		for _, f := range families {
			expect(t, "client", f.listed, "")
			expect(t, "", f.listed, "")
		}
		silent("nobody has heard of it")
		sh(t, "ip route del throw 8.8.8.0/24 table 7201; ip -6 route del throw 2606:4700::/64 table 7201")
		for _, f := range families {
			expect(t, "client", f.listed, "vpn "+f.tunnel)
		}
		silent("the route's table has followed")
		apply(t, k, without)
		for _, f := range families {
			expect(t, "client", f.listed, "vpn "+f.tunnel)
			expect(t, "", f.listed, "vpn "+f.tunnel)
		}
		silent("the table has followed")
		back()
		apply(t, k, with)
		var all sync.WaitGroup
		for who, f := range old {
			all.Go(func() {
				f.drain()
				netlab.Eventually(t, 60*time.Second, func() error {
					got := f.askWithin(moment)
					return netlab.Check(strings.HasPrefix(got, "guest"), "%s, its network is back: %s: %q", c.name, who, got)
				})
			})
		}
		all.Wait()
	}
	// Whole marks of others, after routing, take nothing of it away.
	sh(t, "nft 'table inet theirs { chain f { type filter hook forward priority 0; meta mark set 1; }; chain p { type filter hook postrouting priority 0; meta mark set 1; ct mark set 1; }; }'")
	for _, f := range families {
		expect(t, "client", f.listed, "guest "+f.client)
	}
	unseen("with the marks of others")
}

// chosen asks by a socket of the box with a mark.
func chosen(t *testing.T, m gateway.Mark, to string) string {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(m.Value))
		}), err)
	}}
	c, err := d.DialContext(t.Context(), "udp", net.JoinHostPort(to, "7"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return newFlow(c).ask()
}

// drain reads what was answered late.
func (f flow) drain() {
	_ = f.SetDeadline(time.Now().Add(moment))
	for err := error(nil); err == nil; _, err = f.in.ReadString('\n') {
	}
}

// TestPacketsWithoutDefault: guarantee 4, kill switch. Where the WAN has no default of a
// family, clients reach listed addresses by their route, and nothing else. The box's own
// programs, whose connections the kernel refuses before the table sees them, do with a
// default by the tunnel.
func TestPacketsWithoutDefault(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
	sh(t, "ip route del default; ip -6 route del default; sysctl -qw net.ipv4.conf.tun0.rp_filter=0") // as gateway/policy sets it
	for _, f := range families {
		expect(t, "client", f.listed, "vpn "+f.tunnel)
		expect(t, "client", f.other, "")
		expect(t, "", f.listed, "")
	}
	sh(t, "ip route add default via 10.2.0.1 dev tun0 metric 4000; ip -6 route add default via fd00:a::1 dev tun0 metric 4000")
	for _, f := range families {
		expect(t, "", f.listed, "vpn "+f.tunnel)
	}
}
