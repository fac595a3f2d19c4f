package test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantee 4: kill switch.
// With `default: vpn` and an nft table that others may flush, not one packet to what no list names
// leaves by the WAN while the ruleset is flushed again and again, of flows and of new connections,
// clients' and the box's own, and the flows go on, but for clients' connections: what comes back while
// nothing translates it reaches the box itself, whose RST takes the default route, too. A program that gateway.yaml gives to the WAN, such
// as that which sets the clock, has its names and packets there, also while the tunnel is down and
// everything else is closed: a tunnel cannot come up before the clock is right.
func TestDefaultRouteAndFlushes(t *testing.T) {
	t.Parallel()
	g, _ := defaultGate(t, netlab.Setup{Gateway: "owner: off"}, "vpn")
	const uid = 54242
	g.Box.Write("gateway.yaml", fmt.Sprintf("clients:\n  time: {user: [%d], route: wan}\n", uid)+g.read("gateway.yaml"))
	g.Box.Write("Corefile", fmt.Sprintf(". {\n    clients time\n    cache\n    upstream wan %s\n}\n", g.Plan.ISP.V4)+g.read("Corefile"))
	g.hangUp("reload complete")
	hosts := []*netlab.Host{g.Client, g.Box.Host}
	far, servers := g.addresses("far.other.example"), g.addresses("time.other.example")
	clock := g.programOf(uid, 54243)
	for _, a := range servers {
		clock.awaitVia(netlab.ViaWAN, a)
	}
	for _, from := range hosts {
		g.awaitVia(from, netlab.ViaVPN, backWithin, far...)
	}
	clock.wantVia(netlab.ViaWAN, servers...)

	g.Reset()
	var open []*flows
	for _, from := range hosts {
		open = append(open, g.flows(from, netlab.ViaVPN, far...))
	}
	for range 8 {
		g.Box.Run("nft", "flush", "ruleset")
		for _, from := range hosts {
			for _, a := range far {
				from.AskWithin(a, 10*time.Millisecond)     // where to is counted below
				from.ConnectWithin(a, 10*time.Millisecond) // likewise
			}
		}
		netlab.Eventually(t, backWithin, func() error {
			_, err := g.Box.Exec("nft", "list", "chain", "inet", "nameroute", "classify")
			return err
		})
	}
	for _, tcp := range open[0].tcp {
		tcp.Close()
	}
	open[0].tcp = nil
	for _, f := range open {
		f.wantProgress()
		f.close()
	}
	g.wantNoneClear(far...)
	g.Box.NFT(`table inet box_firewall { chain postrouting { type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }; }`)

	g.Tunnel.Silence(true)
	g.awaitDown(far)
	g.Reset()
	for _, a := range servers {
		clock.awaitVia(netlab.ViaWAN, a)
	}
	clock.wantVia(netlab.ViaWAN, servers...)
	clock.wantAsked(netlab.ViaWAN, "pool.other.example")
	for _, from := range hosts {
		g.wantClosed(from, far...)
	}
	g.wantNoneClear(far...)
	if n := len(g.Tunnel.Inside(wire.To(servers...))); n > 0 {
		t.Errorf("%d packets of the program by the tunnel", n)
	}
}
