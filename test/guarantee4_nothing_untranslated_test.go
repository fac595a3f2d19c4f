package test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// What conntrack knows no connection for is not translated, and so does not leave via
// the tunnel: a RST of the box's own, as it sends one for a reply that reached it while
// others had flushed the table, would end a flow that goes on.
func TestNothingUntranslatedEntersTheTunnel(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	addrs := g.resolve("www.listed.example")
	g.Reset()
	for n, to := range addrs {
		g.reset(netip.AddrPortFrom(g.Tunnel.Near.All()[n], 4242), netip.AddrPortFrom(to, netlab.EchoPort))
	}
	g.wantVia(g.Box.Host, netlab.ViaVPN, addrs...) // and by now they would have arrived
	g.Settle()
	for _, p := range g.Tunnel.Inside(wire.To(addrs...)) {
		if p.Src.Port() == 4242 {
			t.Errorf("a packet of no connection entered the tunnel: %s", p)
		}
	}
	g.wantNoneClear(addrs...)
}

// reset sends a bare RST from the box.
func (g *gate) reset(from, to netip.AddrPort) {
	g.t.Helper()
	network := "ip4:tcp"
	if from.Addr().Is6() {
		network = "ip6:tcp"
	}
	conn, err := g.Box.ListenPacket(network, from.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	segment := make([]byte, 20) // RFC 9293 section 3.1; the checksum is left out
	segment[0], segment[1] = byte(from.Port()>>8), byte(from.Port())
	segment[2], segment[3] = byte(to.Port()>>8), byte(to.Port())
	segment[12], segment[13] = 5<<4, 4
	if _, err := conn.WriteTo(segment, &net.IPAddr{IP: to.Addr().AsSlice()}); err != nil {
		// EPERM is how the kernel says that the packet was dropped.
		g.t.Logf("RST from %s to %s: %v", from, to, err)
	}
}
