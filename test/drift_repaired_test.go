package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// Another program takes the tunnel apart by hand, piece by piece: each is put right, and no
// packet of a listed name leaves via the WAN meanwhile.
func TestTunnelDrift(t *testing.T) {
	t.Parallel()
	m := newChangingWorld(t, netlab.Options{}, netlab.Setup{}, nil, quickDown...)
	for _, c := range []struct{ what, do string }{
		{"link deleted", "ip link del wg0"},
		{"link down", "ip link set wg0 down"},
		{"IPv4 address deleted", "ip -4 addr flush dev wg0"},
		{"IPv6 address deleted", "ip -6 addr flush dev wg0"},
		{"MTU", "ip link set wg0 mtu 1500"},
		{"MTU too small for IPv6", "ip link set wg0 mtu 1200"},
	} {
		m.disturb(c.what, func() { m.Box.Sh(c.do) })
	}
	m.end()
}

// The same with `wg set`, of which the kernel sends no event.
func TestWireGuardDrift(t *testing.T) {
	t.Parallel()
	m := newChangingWorld(t, netlab.Options{}, netlab.Setup{}, nil, quickDown...)
	// The endpoint is an address of a listed name, too: without its firewall mark the
	// tunnel would swallow its own packets.
	m.World.Add("trap.listed.example. 60 IN A "+m.Tunnel.Endpoint.V4.String(), "trap.listed.example. 60 IN AAAA "+m.Tunnel.Endpoint.V6.String())
	m.wantLearned("vpn", m.resolve("trap.listed.example")...)
	peer := strings.TrimSpace(m.Box.Run("wg", "show", "wg0", "peers"))
	for _, c := range []struct{ what, do string }{
		{"firewall mark 0", "wg set wg0 fwmark 0"},
		{"firewall mark of a route", "wg set wg0 fwmark 0x08000000"},
		{"peer removed", "wg set wg0 peer PEER remove"},
		{"another peer", "wg genkey | wg pubkey | xargs -I KEY wg set wg0 peer KEY allowed-ips 0.0.0.0/0,::/0"},
		{"allowed ips emptied", "wg set wg0 peer PEER allowed-ips ''"},
		{"endpoint elsewhere", "wg set wg0 peer PEER endpoint 31.0.3.99:51820"},
		{"endpoint elsewhere, IPv6", "wg set wg0 peer PEER endpoint '[2a0e:3::99]:51820'"},
		{"private key", "wg genkey | wg set wg0 private-key /dev/stdin"},
		{"preshared key", "wg genpsk | wg set wg0 peer PEER preshared-key /dev/stdin"},
	} {
		m.disturb(c.what, func() { m.Box.Sh(strings.ReplaceAll(c.do, "PEER", peer)) })
	}
	m.end()
}

// Other programs delete policy rules and empty routing tables, with a broad brush as scripts do.
func TestRoutingDrift(t *testing.T) {
	t.Parallel()
	m := newChangingWorld(t, netlab.Options{}, netlab.Setup{}, nil, quickDown...)
	table, first := m.vpnTable(), 7200
	rules := func(family string) string {
		return fmt.Sprintf("for p in %d %d %d %d %d; do ip %s rule del pref $p; done", first, table, first+127, first+128, first+129, family)
	}
	tables := fmt.Sprintf("for t in %d %d; do ip route flush table $t; ip -6 route flush table $t; done", table, first+127)
	for _, c := range []struct{ what, do string }{
		{"IPv4 rules", rules("-4")},
		{"IPv6 rules", rules("-6")},
		{"tables", tables},
		{"rules and tables", rules("-4") + "; " + rules("-6") + "; " + tables},
		{"all of our routes", "ip -4 route flush table all proto 110; ip -6 route flush table all proto 110"},
		{"rules, again and again", "for n in 1 2 3 4 5; do " + rules("-4") + " 2>/dev/null; " + rules("-6") + " 2>/dev/null; sleep 0.02; done || true"},
	} {
		m.disturb(c.what, func() { m.Box.Sh(c.do) })
	}
	// Those that the kernel makes at boot go, too. They are not ours: the program that flushes them
	// puts them back, or nothing is reached.
	m.disturb("ip rule flush, the kernel's own are back after 0.3 s", func() {
		m.Box.Sh("ip rule flush; ip -6 rule flush")
		m.p.WaitOutput("ip -6 rule add lookup main pref 32766", backWithin)
		time.Sleep(300 * time.Millisecond)
		m.Box.Sh(`ip rule add lookup main pref 32766; ip rule add lookup default pref 32767; ip -6 rule add lookup main pref 32766
			ip rule add pref 5000 from 198.51.100.0/24 lookup 100; ip -6 rule add pref 5000 from 2001:db8:5::/48 lookup 100
			ip rule add pref 9000 fwmark 0x80/0xff lookup 100; ip -6 rule add pref 9000 fwmark 0x80/0xff lookup 100`)
	})
	m.foreignRule()
	m.end()
}

// foreignRule is one before ours that sends everything via the WAN. It is not ours to
// delete: what is marked for the tunnel is blocked while it is there.
func (m *changingWorld) foreignRule() {
	m.t.Helper()
	m.Box.Sh(`ip route add default via 31.0.1.1 table 101; ip -6 route add default via 2a0e:1::1 table 101
		ip rule add pref 200 to 30.0.0.0/8 lookup 101; ip -6 rule add pref 200 to 2a0f::/16 lookup 101`)
	m.wantClosed(m.Client, m.fresh...)
	m.wantClosed(m.Box.Host, m.fresh...)
	m.wantClosed(m.Client, m.kept...)
	m.wantVia(m.Client, netlab.ViaWAN, m.others...)
	m.p.WaitOutput("another program's policy rule decides before ours", backWithin)
	m.awaitStatusSays("rule 200 of another program")
	if _, err := m.Client.Resolve("asked-meanwhile.listed.example"); err == nil {
		m.t.Error("a listed name was answered though its resolver is behind the kill switch")
	}
	for _, family := range []string{"-4", "-6"} {
		if out := m.Box.Run("ip", family, "rule", "show", "pref", "200"); !strings.Contains(out, "lookup 101") {
			m.t.Errorf("another program's rule is gone: %q", out)
		}
	}
	m.step("a foreign rule before ours went away", func() {
		m.Box.Sh("ip rule del pref 200; ip -6 rule del pref 200; ip route flush table 101; ip -6 route flush table 101")
	})
	m.p.WaitOutput("another program's policy rule no longer decides before ours", backWithin)
}

// vpnTable is the number of route vpn's routing table.
func (g *gate) vpnTable() (number int) {
	g.t.Helper()
	out := g.Box.Run("ip", "route", "show", "table", "all", "default", "dev", "wg0")
	if _, after, ok := strings.Cut(out, " table "); ok {
		fmt.Sscan(after, &number)
	}
	if number == 0 {
		g.t.Fatalf("no default by wg0: %q", out)
	}
	return number
}

// Other programs change sysctls that the way through the tunnel depends on.
func TestSysctlDrift(t *testing.T) {
	t.Parallel()
	m := newChangingWorld(t, netlab.Options{NotRouting: true}, netlab.Setup{}, func(g *gate) {
		g.Box.Sysctl("net/ipv6/conf/wan0/accept_ra=1")
	}, quickDown...)
	for _, c := range []struct {
		what string
		set  []string
	}{
		{what: "IPv4 forwarding", set: []string{"net/ipv4/ip_forward=0"}},
		{what: "IPv6 forwarding", set: []string{"net/ipv6/conf/all/forwarding=0"}},
		{what: "forwarding of the LAN alone", set: []string{"net/ipv4/conf/br-lan/forwarding=0"}},
		{what: "forwarding of the tunnel alone", set: []string{"net/ipv4/conf/wg0/forwarding=0"}},
		{what: "forwarding of the WAN alone", set: []string{"net/ipv4/conf/wan0/forwarding=0"}},
		{what: "strict filter of the tunnel", set: []string{"net/ipv4/conf/wg0/rp_filter=1"}},
		{what: "everything, and no advertisements", set: []string{"net/ipv6/conf/wan0/accept_ra=1", "net/ipv4/ip_forward=0",
			"net/ipv6/conf/all/forwarding=0", "net/ipv4/conf/wg0/rp_filter=1"}},
		{what: "strict filters of all", set: []string{"net/ipv4/conf/all/rp_filter=1", "net/ipv4/conf/wg0/rp_filter=1", "net/ipv4/conf/wan0/rp_filter=1"}},
	} {
		strict := strings.Contains(c.what, "of all")
		step := m.disturb
		if strict {
			step = m.step // all's is another program's own, and those of WAN and tunnel are loosened for it
		}
		step(c.what, func() { m.Box.Sysctl(c.set...) })
		tunnel := "0"
		if strict {
			tunnel = "2"
		}
		for name, want := range map[string]string{"net.ipv6.conf.wan0.accept_ra": "2", "net.ipv4.conf.wg0.rp_filter": tunnel} {
			netlab.Eventually(t, backWithin, func() error {
				got := strings.TrimSpace(m.Box.Run("sysctl", "-n", name))
				return netlab.Check(got == want, "%s: %s = %s, want %s", c.what, name, got, want)
			})
		}
	}
	m.end()
}
