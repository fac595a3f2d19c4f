package test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 4: kill switch.
// Whatever happens to the tunnel, no packet and no query of the route takes the WAN,
// everything else goes on, and the route recovers by itself.
func TestKillSwitch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		cut    func(*gate)
		mend   func(*gate) // nil: nothing is done
		silent bool        // nothing gets through until it is mended
	}{
		{name: "link set down", cut: func(g *gate) { g.Box.Down("wg0") }},
		{name: "link deleted", cut: func(g *gate) { g.Box.Delete("wg0") }},
		{name: "far end silent", silent: true,
			cut:  func(g *gate) { g.Tunnel.Silence(true) },
			mend: func(g *gate) { g.Tunnel.Silence(false) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, netlab.Setup{}, quickDown...)
			addrs := g.resolve("www.listed.example")
			flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
			g.Reset()
			others := g.ask("other.example")
			flood := g.flood(netlab.ViaVPN, addrs...)
			listed := g.ask("listed.example")
			time.Sleep(100 * time.Millisecond)

			cut := time.Now()
			c.cut(g)
			if c.silent {
				g.wantClosedWhileCut(addrs)
				c.mend(g)
				cut = time.Now()
			}
			g.awaitVia(g.Client, netlab.ViaVPN, 8*time.Second, addrs...)
			t.Logf("back for new flows after %v", time.Since(cut).Round(time.Millisecond))
			flows.wantProgress()
			tcp, udp := flows.worst()
			t.Logf("old flows: longest gap over TCP %v, over UDP %v", tcp, udp)
			g.Box.AwaitNames("back.listed.example", 8*time.Second)
			t.Logf("back for names after %v", time.Since(cut).Round(time.Millisecond))

			t.Logf("%d new flows of the route meanwhile", flood.stop(g))
			listed.end()
			t.Logf("%d of %d queries about listed names answered meanwhile", listed.answered.Load(), listed.sent.Load())
			others.wantAllAnswered(g)
			g.wantNoneClear(append(addrs, g.Plan.World.All()...)...)
			g.wantNoQueryByWAN("listed.example")
		})
	}
}

// wantClosedWhileCut waits until the sidecar has noticed, and looks that nothing of
// the route gets anywhere, before and after, while other names are reached.
func (g *gate) wantClosedWhileCut(addrs []netip.Addr) {
	g.t.Helper()
	g.wantClosed(g.Client, addrs...)
	began := time.Now()
	g.p.WaitOutput("packets and queries of the route are blocked", 6*time.Second)
	g.t.Logf("noticed after %v", time.Since(began).Round(time.Millisecond))
	g.wantClosed(g.Client, addrs...)
	g.wantClosed(g.Box.Host, addrs...)
	if _, err := g.Client.Resolve("fresh-while-cut.listed.example"); err == nil {
		g.t.Error("a fresh listed name was answered while the tunnel was cut")
	}
	g.wantVia(g.Client, netlab.ViaWAN, g.resolve("reached-while-cut.example")...)
}
