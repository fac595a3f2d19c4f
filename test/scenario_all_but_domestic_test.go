package test

import (
	"net/netip"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantees 4 and 6, for docs/scenarios/gfwlist.md.
// Domestic names are asked for and reached via the WAN, and so are domestic addresses without a
// name; everything else takes the tunnel, of clients and of the box, both families. While the
// tunnel is silent nothing else leaves, and what is domestic goes on.
func TestScenarioAllButDomestic(t *testing.T) {
	t.Parallel()
	g := scenario(t, netlab.Options{GoResolvers: true}, "gfwlist.md", 1)
	g.Box.Write("wg0.conf", g.WireGuardConf())
	g.Box.Write("china.conf", "server=/domestic.example/114.114.114.114\n")
	g.Box.Write("chnroute.txt", "30.110.0.0/16\n2a0f:cc::/32\n")
	g.startAnswering()
	g.Box.AwaitNames("ready.foreign.example", 0)
	g.serveEcho(g.Box.Host, netip.AddrPortFrom(netip.IPv4Unspecified(), 7007))
	g.wantWarnings("servers of this box on UDP 7007 of all addresses answer")
	prefixes, foreign := parse("30.110.1.1", "2a0f:cc::1"), parse("30.111.1.1", "2a0f:cd::1")
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.awaitVia(from, netlab.ViaWAN, 0, prefixes...)
		g.awaitVia(from, netlab.ViaVPN, 0, foreign...)
	}
	for name, want := range map[string]netlab.Egress{"www.domestic.example": netlab.ViaWAN, "www.foreign.example": netlab.ViaVPN} {
		g.Reset()
		g.wantAt(g.Client, name, want)
		g.wantVia(g.Box.Host, want, g.World.Addresses(name).All()...)
		if want == netlab.ViaVPN {
			g.wantNoneClear(g.World.Addresses(name).All()...)
			g.wantNoQueryByWAN(name)
		}
	}
	g.Reset()
	g.Tunnel.Silence(true)
	closed := append(foreign, g.addresses("www.foreign.example", "unheard.foreign.example")...)
	g.wantClosed(g.Client, closed...)
	g.wantClosed(g.Box.Host, closed...)
	if _, err := g.Client.Resolve("fresh.foreign.example"); err == nil {
		t.Error("a foreign name was answered while the tunnel is silent")
	}
	g.wantNoneClear(closed...)
	g.wantNoQueryByWAN("foreign.example")
	g.wantAt(g.Client, "fresh.domestic.example", netlab.ViaWAN)
	g.wantVia(g.Client, netlab.ViaWAN, prefixes...)
}
