package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// The provider moves: its name means another address, and the old one is dead. The
// name is asked for again, via the WAN, when the handshake goes stale.
func TestEndpointMoves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		from, to func(netlab.Pair) netip.Addr // of the provider's first pair of addresses and its second
		keep     bool                         // the name goes on to mean the old address, too
	}{
		{name: "IPv4 to another", from: v4, to: v4},
		{name: "IPv6 to another", from: v6, to: v6},
		{name: "IPv4 to IPv6", from: v4, to: v6},
		{name: "IPv6 to IPv4", from: v6, to: v4},
		{name: "IPv6 dead, IPv4 alive, both named", from: v6, to: v4, keep: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var second netlab.Pair
			m := newChangingWorld(t, netlab.Options{}, netlab.Setup{Listed: []string{"listed.example", "provider.example"}}, func(g *gate) {
				second = g.secondEndpoint()
				g.Box.Write("wg0.conf", g.Tunnel.Conf(netlab.ConfOptions{Endpoint: g.Tunnel.Domain}))
				g.endpointIs(c.from(g.Tunnel.Endpoint))
			}, quickDown...)
			m.Client.Resolve(m.Tunnel.Domain) // its addresses are listed, too
			byClient := len(m.World.Queries(m.Tunnel.Domain))
			old, fresh := c.from(m.Tunnel.Endpoint), c.to(second)
			m.wantEndpoint(old)
			m.step(fmt.Sprintf("%s to %s", old, fresh), func() {
				if c.keep {
					m.endpointIs(old, fresh)
				} else {
					m.endpointIs(fresh)
				}
				m.dead(m.Tunnel.Endpoint)
			})
			m.wantEndpoint(fresh)
			m.endpointIs(fresh)
			m.wantAsked(netlab.ViaWAN, m.World.Queries(m.Tunnel.Domain)[byClient:])
			m.end()
		})
	}
}

func v4(p netlab.Pair) netip.Addr { return p.V4 }
func v6(p netlab.Pair) netip.Addr { return p.V6 }

// secondEndpoint gives the provider a further pair of addresses where it answers.
func (g *gate) secondEndpoint() netlab.Pair {
	g.t.Helper()
	p := netlab.Pair{V4: g.Tunnel.Endpoint.V4.Next(), V6: g.Tunnel.Endpoint.V6.Next()}
	g.Tunnel.IP(fmt.Sprintf("addr add %s/24 dev isp0", p.V4), fmt.Sprintf("addr add %s/64 dev isp0 nodad", p.V6))
	return p
}

// dead has the provider drop what comes to a pair of addresses, and say nothing there.
func (g *gate) dead(p netlab.Pair) {
	g.t.Helper()
	g.Tunnel.NFT(fmt.Sprintf(`table inet dead {
		chain in { type filter hook prerouting priority raw; iifname isp0 ip daddr %[1]s drop; iifname isp0 ip6 daddr %[2]s udp dport %[3]d drop; }
		chain out { type filter hook output priority raw; oifname isp0 ip saddr %[1]s drop; oifname isp0 ip6 saddr %[2]s udp sport %[3]d drop; }
	}`, p.V4, p.V6, g.Tunnel.Port))
}

// endpointIs has the provider's name mean these addresses and no others.
func (g *gate) endpointIs(addrs ...netip.Addr) {
	g.t.Helper()
	g.World.Remove(g.Tunnel.Domain)
	for _, a := range addrs {
		kind := "AAAA"
		if a.Is4() {
			kind = "A"
		}
		g.World.Add(fmt.Sprintf("%s. 5 IN %s %s", g.Tunnel.Domain, kind, a))
	}
}

// wantEndpoint waits for the tunnel's peer at an address.
func (g *gate) wantEndpoint(want netip.Addr) {
	g.t.Helper()
	at := netip.AddrPortFrom(want, g.Tunnel.Port).String()
	netlab.Eventually(g.t, backWithin, func() error {
		out := strings.Fields(g.Box.Run("wg", "show", "wg0", "endpoints"))
		return netlab.Check(len(out) == 2 && out[1] == at, "endpoint %v, want %s", out, at)
	})
}

// A provider with IPv6 only, via a WAN whose IPv4 goes and comes back: the tunnel
// does not need it, and carries IPv4 all the same.
func TestEndpointByIPv6Only(t *testing.T) {
	t.Parallel()
	setup := netlab.Setup{WAN: netlab.NewPlan().World2.V6.String(), Gateway: "wan_resolvers: [" + netlab.NewPlan().World2.V6.String() + "]"}
	m := newChangingWorld(t, netlab.Options{}, setup, func(g *gate) {
		g.Box.Write("wg0.conf", g.Tunnel.Conf(netlab.ConfOptions{Endpoint: g.Tunnel.Domain}))
		g.endpointIs(g.Tunnel.Endpoint.V6)
	}, quickDown...)
	m.wantEndpoint(m.Tunnel.Endpoint.V6)
	m.Box.IP("addr flush dev wan0 scope global to 31.0.1.0/24")
	m.awaitTable("-4", 7327, "unreachable default")
	m.wantVia(m.Client, netlab.ViaVPN, m.fresh...)
	m.wantVia(m.Client, netlab.ViaWAN, m.others[1])
	m.wantClosed(m.Client, m.others[0])
	m.Box.AwaitNames("only-ipv6.listed.example", backWithin)
	m.Box.AwaitNames("only-ipv6.other.example", backWithin)
	tcp, udp := m.flows.worst()
	t.Logf("WAN without IPv4: worst gap of listed flows over TCP %v, over UDP %v", tcp, udp)
	m.step("IPv4 is back", func() {
		m.Box.IP("addr add 31.0.1.2/24 dev wan0", "route add default via 31.0.1.1 dev wan0")
	})
	m.end()
}

// A provider with both: when the family that the tunnel goes by leaves the WAN, the
// other is taken at once.
func TestEndpointFollowsFamilyOfWAN(t *testing.T) {
	t.Parallel()
	m := newChangingWorld(t, netlab.Options{}, byWorld2(), func(g *gate) {
		g.Box.Write("wg0.conf", g.Tunnel.Conf(netlab.ConfOptions{Endpoint: g.Tunnel.Domain}))
	}, quickDown...)
	m.wantEndpoint(m.Tunnel.Endpoint.V6)
	m.Box.IP("route del ::/0")
	m.flows.wantProgress()
	m.wantEndpoint(m.Tunnel.Endpoint.V4)
	m.step("IPv6 is back", func() { m.Box.IP("route add ::/0 via 2a0e:1::1 dev wan0") })
	tcp, udp := m.flows.worst()
	t.Logf("worst gap of listed flows over TCP %v, over UDP %v", tcp, udp)
	m.Box.IP("route del default")
	m.flows.wantProgress()
	m.awaitVia(m.Client, netlab.ViaVPN, backWithin, m.fresh...)
	m.step("IPv4 is back", func() { m.Box.IP("route add default via 31.0.1.1 dev wan0") })
	m.end()
}
