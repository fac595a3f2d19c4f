package test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Half-defaults are how OpenVPN's redirect-gateway outbids the default route of table
// main without replacing it.
var halfDefaults = []string{"0.0.0.0/1", "128.0.0.0/1", "::/3", "2000::/4", "3000::/4", "fc00::/7"}

// Another program's half-defaults in table main, by an interface that goes nowhere, catch
// neither listed names, nor the tunnel's own packets, nor upstreams via the WAN;
// whether they come before nameroute or while it runs.
func TestHalfDefaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		before bool
		v6     bool // the tunnel's endpoint
	}{
		{"before the start, endpoint IPv4", true, false},
		{"before the start, endpoint IPv6", true, true},
		{"while it runs, endpoint IPv4", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			setup := netlab.Setup{WAN: fmt.Sprintf("%s %s", g.World2.V4, g.World2.V6)}
			if c.v6 {
				setup.Conf = g.Tunnel.Conf(netlab.ConfOptions{Endpoint: g.Tunnel.Endpoint.V6.String()})
			}
			g.Box.WriteFiles(setup)
			if c.before {
				g.redirectGateway()
			}
			g.start()
			addrs := g.resolve("www.listed.example")
			if !c.before {
				flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
				g.redirectGateway()
				flows.wantProgress()
			}
			g.Reset()
			nowhere := netlab.NewTap(g.Box.Namespace, "ovpn0")

			g.wantVia(g.Client, netlab.ViaVPN, addrs...)
			g.wantVia(g.Box.Host, netlab.ViaVPN, addrs...)
			g.wantVia(g.Client, netlab.ViaVPN, g.resolve("fresh.listed.example")...)
			other := g.resolve("www.other.example")
			g.wantQueriesBy("other.example", netlab.ViaWAN)
			g.wantQueriesBy("listed.example", netlab.ViaVPN)
			if len(g.ISP.Encrypted()) == 0 {
				t.Error("no packet of the tunnel seen at the ISP")
			}
			g.wantNoneClear(addrs...)
			ours := append(append(append(addrs, g.Plan.World.All()...), g.World2.All()...), g.Tunnel.Endpoint.All()...)
			if caught := nowhere.Packets(wire.To(ours...)); len(caught) > 0 {
				t.Errorf("%d packets were caught by the half-defaults, the first: %s", len(caught), caught[0])
			}
			// They are what other traffic takes, or the test would prove nothing.
			g.wantClosed(g.Client, other...)
			if len(nowhere.Packets(wire.To(other...))) == 0 {
				t.Error("no packet to another name took the half-defaults")
			}
		})
	}
}

// redirectGateway makes an interface that goes nowhere and points half-defaults there.
func (g *gate) redirectGateway() {
	g.t.Helper()
	g.Box.IP("link add ovpn0 type veth peer name ovpn1", "link set ovpn0 up", "link set ovpn1 up",
		"addr add 10.8.0.2/24 dev ovpn0", "addr add fd08::2/64 dev ovpn0 nodad",
		// A neighbour that takes everything and forwards nothing.
		"neigh add 10.8.0.1 lladdr 02:00:00:00:00:01 dev ovpn0", "neigh add fd08::1 lladdr 02:00:00:00:00:01 dev ovpn0")
	for _, half := range halfDefaults {
		via := "10.8.0.1"
		if netip.MustParsePrefix(half).Addr().Is6() {
			via = "fd08::1"
		}
		g.Box.IP(fmt.Sprintf("route add %s via %s dev ovpn0", half, via))
	}
}

// wantQueriesBy wants that names below domain were asked for upstream, and only one way.
func (g *gate) wantQueriesBy(domain string, want netlab.Egress) {
	g.t.Helper()
	asked := g.World.Queries(domain)
	if len(asked) == 0 {
		g.t.Errorf("no server was asked about %s", domain)
	}
	for _, q := range asked {
		if q.Egress != want {
			g.t.Errorf("asked by %s: %s; want %s", q.Egress, q, want)
		}
	}
}
