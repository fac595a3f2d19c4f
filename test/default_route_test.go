package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// defaultGate starts a gateway of which everything takes the tunnel but what is listed for the
// WAN: names below listed.example, and near.
func defaultGate(t *testing.T, s netlab.Setup, def string) (g *gate, near []netip.Addr) {
	t.Helper()
	g = bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(s)
	g.Box.Write("gateway.yaml", strings.Replace(g.read("gateway.yaml"), "routes:\n", "default: "+def+"\nroutes:\n  wan: {prefixes: [near]}\n", 1))
	g.Box.Write("near.txt", "30.200.0.0/16\n2a0f:aa:7::/48\n")
	g.Box.Write("gateway.yaml", g.read("gateway.yaml")+"  near: {file: near.txt}\n")
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    listed mine
    route wan
    cache
    upstream wan %s
}
. {
    cache
    upstream vpn %s
}
`, g.Plan.ISP.V4, g.Plan.World.V4))
	g.start(quickDown...)
	return g, parse("30.200.1.1", "2a0f:aa:7::1")
}

// Guarantee 4: kill switch.
// With `default: vpn` what nothing names takes the tunnel, of clients and of the box, and what is
// listed for the WAN takes that, names and prefixes; local networks are local, and what is bound to
// the WAN or came in by it leaves by it, whether the tunnel is up or not (what came in by IPv6 only
// while it is up). Without nft table and
// without nameroute, policy rules alone keep it so.
func TestDefaultRoute(t *testing.T) {
	t.Parallel()
	g, near := defaultGate(t, netlab.Setup{Gateway: "owner: off"}, "vpn")
	hosts := []*netlab.Host{g.Client, g.Box.Host}
	far := g.addresses("far.other.example")
	for _, from := range hosts {
		g.awaitVia(from, netlab.ViaVPN, backWithin, far...)
	}
	g.Reset()
	listed := g.resolve("www.listed.example")
	for _, from := range hosts {
		g.wantVia(from, netlab.ViaVPN, append(g.resolve("www.other.example"), far...)...)
		g.wantVia(from, netlab.ViaWAN, append(listed, near...)...)
		g.wantVia(from, netlab.ViaWAN, g.Plan.ISP.All()...)
	}
	g.wantAsked(netlab.ViaVPN, g.World.Queries("other.example"))
	g.wantAsked(netlab.ViaWAN, g.World.Queries("listed.example"))
	g.wantNoneClear(append(g.addresses("www.other.example"), far...)...)
	for _, at := range g.BoxWAN.All() {
		g.serveEcho(g.Box.Host, netip.AddrPortFrom(at, portBox))
	}
	callers := g.addresses("caller.other.example")
	g.wantInboundByWAN(callers)
	g.wantBoundToWAN(callers)
	g.renewLeases()
	for _, a := range g.Plan.Client.All() {
		if out, err := g.Box.Exec("ping", "-n", "-c1", "-W10", a.String()); err != nil {
			t.Errorf("the client at %s: %v\n%s", a, err, out)
		}
	}

	g.Tunnel.Silence(true)
	g.Reset()
	g.awaitDown(far)
	for _, from := range hosts {
		g.wantClosed(from, far...)
	}
	g.wantNoneClear(far...)
	g.wantVia(g.Client, netlab.ViaWAN, append(listed, near...)...)
	g.wantInboundByWAN(callers[:1])
	g.wantBoundToWAN(callers)
	g.Tunnel.Silence(false)
	for _, from := range hosts {
		g.awaitVia(from, netlab.ViaVPN, 2*backWithin, far...)
	}

	g.p.Kill()
	g.Box.Run("nft", "delete table inet nameroute")
	g.Reset()
	for _, from := range hosts { // nobody is at the other end of the tunnel's interface
		g.wantClosed(from, far...)
	}
	g.wantNoneClear(far...)
	if foreign := g.ISP.Foreign(); len(foreign) > 0 {
		t.Errorf("%d packets left by the WAN with another's source, the first: %s", len(foreign), foreign[0])
	}
}

// awaitDown sends from the box until the tunnel is down.
func (g *gate) awaitDown(far []netip.Addr) {
	g.t.Helper()
	netlab.Eventually(g.t, 2*backWithin, func() error {
		g.wantClosed(g.Box.Host, far[0])
		return netlab.Check(strings.Contains(g.p.Output(), "packets and queries of the route are blocked"), "the tunnel is not down")
	})
}

// wantInboundByWAN calls the box from hosts of the internet at its WAN's addresses.
func (g *gate) wantInboundByWAN(from []netip.Addr) {
	g.t.Helper()
	for family, source := range from {
		at := netip.AddrPortFrom(g.BoxWAN.All()[family], portBox)
		for _, proto := range []string{"tcp", "udp"} {
			if err := g.call(proto, source, at); err != nil {
				g.t.Errorf("%s at %s over %s: %v", source, at, proto, err)
			}
		}
	}
	g.Settle()
	if n := len(g.Tunnel.Inside(func(p wire.Packet) bool { return p.Src.Port() == portBox })); n > 0 {
		g.t.Errorf("%d answers to what came in by the WAN left by the tunnel", n)
	}
}

// wantBoundToWAN connects from sockets that are bound to the WAN's interface or its address.
func (g *gate) wantBoundToWAN(far []netip.Addr) {
	g.t.Helper()
	for family, a := range far {
		url := "http://" + netip.AddrPortFrom(a, 80).String() + "/"
		for _, to := range []string{"wan0", g.BoxWAN.V4.String()}[:2-family] {
			if egress, err := g.Box.Curl(url, "--interface", to); err != nil || egress != netlab.ViaWAN {
				g.t.Errorf("curl --interface %s %s: by %q, %v; want %s", to, url, egress, err, netlab.ViaWAN)
			}
		}
	}
}
