package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// Whatever the WAN does, flows of listed names go on through the tunnel, which roams,
// and nothing of them leaves via the WAN; other names take the WAN that there is now.
func TestWANMoves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(*gate)
		dot     bool // resolvers via the WAN are asked over TLS
		steps   func(*changingWorld)
	}{
		{name: "lease with another address", steps: otherLease},
		{name: "lease with another address, tunnel by IPv6", prepare: byIPv6, steps: otherLease},
		{name: "lease with another address, DNS over TLS", dot: true, steps: otherLease},
		{name: "other gateway", steps: otherGateway},
		{name: "default route replaced", steps: otherMetric},
		{name: "link down and up", steps: func(m *changingWorld) {
			m.step("down for 0.5 s", func() { m.FlapWAN(500 * time.Millisecond) })
		}},
		{name: "cable out and in", steps: func(m *changingWorld) {
			m.step("unplugged for 0.5 s", func() {
				m.UnplugWAN()
				time.Sleep(500 * time.Millisecond)
				m.PlugWAN()
			})
		}},
		{name: "another interface", steps: otherUplink},
		{name: "a bridge", steps: bridged},
		{name: "redial", steps: redial},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			setup := byWorld2()
			if c.dot {
				p := netlab.NewPlan()
				setup.WAN = fmt.Sprintf("tls://%[1]s%%%[3]s tls://%[2]s%%%[3]s", p.World2.V4, p.World2.V6, netlab.WorldServerName)
			}
			m := newChangingWorld(t, netlab.Options{}, setup, c.prepare, quickDown...)
			c.steps(m)
			m.end()
		})
	}
}

// byWorld2 asks a public resolver via the WAN, in both families: the ISP's own may be
// out of reach.
func byWorld2() netlab.Setup {
	p := netlab.NewPlan()
	return netlab.Setup{WAN: fmt.Sprintf("%s %s", p.World2.V4, p.World2.V6)}
}

// byIPv6 has the provider reached by IPv6.
func byIPv6(g *gate) {
	g.Box.Write("wg0.conf", g.Tunnel.Conf(netlab.ConfOptions{Endpoint: g.Tunnel.Endpoint.V6.String()}))
}

// otherLease is a DHCP server's other answer: what the old one gave goes, the new
// comes.
func otherLease(m *changingWorld) {
	m.step("another IPv4 address", func() {
		m.Box.IP("addr flush dev wan0 scope global to 31.0.1.0/24", "addr add 31.0.1.77/24 dev wan0",
			"route replace default via 31.0.1.1 dev wan0")
	})
	m.step("another IPv6 address", func() {
		m.Box.IP("addr add 2a0e:1::77/64 dev wan0 nodad", "addr del 2a0e:1::2/64 dev wan0")
	})
	m.step("back, with a gap of 0.3 s", func() {
		m.Box.IP("addr flush dev wan0 scope global")
		time.Sleep(300 * time.Millisecond)
		m.Box.IP("addr add 31.0.1.2/24 dev wan0", "addr add 2a0e:1::2/64 dev wan0 nodad",
			"route replace default via 31.0.1.1 dev wan0", "route replace ::/0 via 2a0e:1::1 dev wan0")
	})
}

// otherGateway is another router at the ISP; the old one's address is gone.
func otherGateway(m *changingWorld) {
	m.step("gateway 31.0.1.254 and 2a0e:1::fe", func() {
		m.ISP.IP("addr add 31.0.1.254/24 dev box0", "addr add 2a0e:1::fe/64 dev box0 nodad",
			"addr del 2a0e:1::1/64 dev box0", "addr del 31.0.1.1/24 dev box0", "addr replace 31.0.1.254/24 dev box0")
		m.Box.IP("neigh flush dev wan0", "route replace default via 31.0.1.254 dev wan0", "route replace ::/0 via 2a0e:1::fe dev wan0")
	})
}

func otherMetric(m *changingWorld) {
	m.step("metric 600, and the old one goes", func() {
		m.Box.IP("route add default via 31.0.1.1 dev wan0 metric 600", "route add ::/0 via 2a0e:1::1 dev wan0 metric 600",
			"route del default via 31.0.1.1 dev wan0 metric 0", "route del ::/0 via 2a0e:1::1 dev wan0 metric 1024")
	})
	m.step("none for 0.3 s", func() {
		m.Box.IP("route del default", "route del ::/0")
		time.Sleep(300 * time.Millisecond)
		m.Box.IP("route add default via 31.0.1.1 dev wan0", "route add ::/0 via 2a0e:1::1 dev wan0")
	})
}

// otherUplink moves the WAN to another interface and back.
func otherUplink(m *changingWorld) {
	u := m.AddWAN()
	m.step("to wan1, wan0 stays up", func() {
		m.Box.IP(fmt.Sprintf("route replace default via %s dev %s", u.Gate.V4, u.Link),
			"route del ::/0", fmt.Sprintf("route add ::/0 via %s dev %s", u.Gate.V6, u.Link))
	})
	m.step("back to wan0, wan1 goes down", func() {
		m.Box.IP("route replace default via 31.0.1.1 dev wan0", "route replace ::/0 via 2a0e:1::1 dev wan0")
		m.Box.Down(u.Link)
	})
}

// bridged moves the WAN to a bridge, whose frames the hooks of nft see twice.
func bridged(m *changingWorld) {
	m.step("wan0 becomes a port of br-wan", func() {
		m.Box.IP("link add br-wan type bridge", "addr flush dev wan0 scope global", "link set wan0 master br-wan", "link set br-wan up",
			"addr add 31.0.1.2/24 dev br-wan", "addr add 2a0e:1::2/64 dev br-wan nodad",
			"route replace default via 31.0.1.1 dev br-wan", "route replace ::/0 via 2a0e:1::1 dev br-wan")
		m.Box.Sysctl("net/bridge/bridge-nf-call-iptables=1", "net/bridge/bridge-nf-call-ip6tables=1")
	})
}

// redial moves the WAN to a dialled line, which is hung up and dialled again.
func redial(m *changingWorld) {
	line := m.NewPPP()
	m.step("to ppp0", func() {
		m.Box.IP("route del default", "route del ::/0")
		line.Dial()
	})
	for range 2 {
		m.step("hung up for 0.3 s, dialled again", func() {
			line.HangUp()
			time.Sleep(300 * time.Millisecond)
			line.Dial()
		})
	}
}

// The IPv6 default that the ISP's router advertises is withdrawn, comes back, expires
// and comes back. The box takes it though it forwards, which nameroute sees to.
func TestAdvertisedWANMoves(t *testing.T) {
	t.Parallel()
	m := newChangingWorld(t, netlab.Options{NotRouting: true}, byWorld2(), func(g *gate) {
		g.Box.Sysctl("net/ipv6/conf/wan0/accept_ra=1", "net/ipv6/route/gc_interval=1")
		g.Box.IP("route del ::/0 dev wan0")
		g.advertised(1800*time.Second, true)
	}, quickDown...)
	for _, c := range []struct {
		what string
		ends time.Duration // the lifetime that ends it
	}{{"withdrawn", 0}, {"expired", time.Second}} {
		at := time.Now()
		m.flows.resetGap()
		m.Advertise(c.ends)
		m.advertised(-1, false)
		m.awaitTable("-6", 7327, "unreachable default")
		m.t.Logf("%s after %v", c.what, round(time.Since(at)))
		m.wantVia(m.Client, netlab.ViaWAN, m.others[0])
		m.wantClosed(m.Client, m.others[1])
		m.flows.wantProgress()
		m.step(c.what+", advertised again", func() { m.advertised(1800*time.Second, true) })
	}
	m.end()
}

// advertised sends an advertisement, unless its lifetime is negative, and waits until
// the box has a default of one, or none.
func (g *gate) advertised(lifetime time.Duration, want bool) {
	g.t.Helper()
	netlab.Eventually(g.t, backWithin, func() error {
		if lifetime >= 0 {
			g.Advertise(lifetime)
		}
		out := g.Box.Run("ip", "-6", "route", "show", "default", "proto", "ra")
		return netlab.Check((out != "") == want, "a default by router advertisement: %q, want one: %v", out, want)
	})
}

// awaitTable waits until what a routing table holds begins with a text.
func (g *gate) awaitTable(family string, table int, want string) {
	g.t.Helper()
	netlab.Eventually(g.t, backWithin, func() error {
		out, err := g.Box.Exec("ip", family, "route", "show", "table", fmt.Sprint(table))
		return netlab.Check(err == nil && strings.HasPrefix(out, want), "routing table %d: %q, %v, want %q", table, out, err, want)
	})
}
