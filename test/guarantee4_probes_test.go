package test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 4: kill switch.
// A tunnel that shakes hands and carries nothing is down by its probes: with `on_down: wan`
// packets and queries take the WAN, with `block` nothing does, and the probes themselves never
// leave by it. They go on, and the route is back when they are answered.
func TestProbesThroughATunnel(t *testing.T) {
	t.Parallel()
	for _, onDown := range []string{"wan", "block"} {
		t.Run(onDown, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			asked := g.Plan.World2
			g.Box.WriteFiles(netlab.Setup{OnDown: onDown, Route: fmt.Sprintf("probe: [ping %s, ping %s]\nevery: 2s\ngood: 2", asked.V4, asked.V6)})
			g.start()
			fresh := g.resolve("fresh.listed.example")
			g.p.WaitOutput("route is up", 30*time.Second)
			g.awaitVia(g.Client, netlab.ViaVPN, 30*time.Second, fresh...)
			g.Reset()

			g.Tunnel.NFT(`table inet deaf { chain forward { type filter hook forward priority 0; iifname "wg0" drop; }; }`)
			g.p.WaitOutput("probe failed: ping "+asked.V4.String(), 30*time.Second)
			if onDown == "wan" {
				g.Box.AwaitNames("ready.listed.example", 30*time.Second)
				g.awaitVia(g.Client, netlab.ViaWAN, 30*time.Second, fresh...)
				g.wantVia(g.Box.Host, netlab.ViaWAN, fresh...)
			} else {
				g.wantClosed(g.Client, fresh...)
				g.wantClosed(g.Box.Host, fresh...)
				g.wantNoneClear(fresh...)
				g.wantNoQueryByWAN("listed.example")
			}
			g.wantNoneClear(asked.All()...)

			g.Tunnel.NFT("delete table inet deaf")
			g.awaitVia(g.Client, netlab.ViaVPN, 30*time.Second, fresh...)
			g.awaitVia(g.Box.Host, netlab.ViaVPN, 30*time.Second, fresh...)
			g.wantNoneClear(asked.All()...)
			if onDown == "block" {
				g.wantNoneClear(fresh...)
				g.wantNoQueryByWAN("listed.example")
			}
		})
	}
}
