package test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// groupOf writes the files of a gateway whose listed names take a group of two tunnels.
func (g *gate) groupOf(group string) {
	g.t.Helper()
	g.Box.WriteFiles(netlab.Setup{})
	g.Box.Write("wg1.conf", g.Tunnels[1].Conf(netlab.ConfOptions{}))
	g.Box.Write("gateway.yaml", fmt.Sprintf(`lan: [br-lan]
routes:
  nl: {wireguard: %[1]s/wg0.conf}
  de: {wireguard: %[1]s/wg1.conf}
  vpn: {%[2]s}
lists:
  mine: {file: %[1]s/mine.txt}
`, g.Box.Dir, group))
}

// Guarantee 4: kill switch.
// The packets and queries of a group leave by its preferred member, and by the next one when
// that carries nothing, of both families, forwarded and own, over TCP and UDP: not one leaves by
// the WAN while it moves, nor while no member works. A flow that the group gave to the member
// that failed ends. A restart adopts the member in force.
func TestGroupFailsOver(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	asked := g.Plan.World2.V4
	g.groupOf(fmt.Sprintf("egress: [nl, de], probe: ping %s, fails: 3, good: 2, hold: 1h", asked))
	g.start()
	second := netlab.ViaTunnel(1)
	listed := g.resolve("fresh.listed.example")
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.awaitVia(from, netlab.ViaVPN, 30*time.Second, listed...)
	}
	g.Reset()

	g.Tunnel.NFT(`table inet deaf { chain forward { type filter hook forward priority 0; iifname "wg0" drop; }; }`)
	g.p.WaitOutput("the group leaves by other members", 30*time.Second)
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.awaitVia(from, second, 30*time.Second, listed...)
	}
	g.Box.AwaitNames("moved.listed.example", 30*time.Second)
	for _, q := range g.World.Queries("moved.listed.example") {
		if q.Egress != second {
			t.Errorf("asked by another member: %s", q)
		}
	}
	g.awaitStatus(func(s page, code int) error {
		for _, r := range s.Routes {
			if r.Name == "nl" {
				return netlab.Check(code == 10 && r.State == "down" && strings.HasPrefix(r.Reason, "probes of vpn through it fail: ping "),
					"nl has shaken hands and carries nothing, and status ends with %d and says %s: %s", code, r.State, r.Reason)
			}
		}
		return errors.New("no route nl")
	})
	g.wantNoneClear(append(listed, asked)...)
	g.wantNoQueryByWAN("listed.example")

	g.p.Stop()
	g.start()
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.awaitVia(from, second, 30*time.Second, listed...)
	}
	if strings.Contains(g.p.Output(), "the group leaves by other members") {
		t.Error("a restart has moved the group")
	}

	g.Tunnels[1].NFT(`table inet deaf { chain forward { type filter hook forward priority 0; iifname "wg0" drop; }; }`)
	g.wantClosed(g.Client, listed...)
	g.wantNoneClear(append(listed, asked)...)
	g.wantNoQueryByWAN("listed.example")
	g.Tunnel.NFT("delete table inet deaf")
	g.awaitVia(g.Client, netlab.ViaVPN, 30*time.Second, listed...)
	g.wantNoneClear(append(listed, asked)...)
}

// Promise: `policy: balance` gives new flows to the members by their weights, within 5% over
// 2,000 flows of each family, and a flow stays where it is.
func TestGroupBalances(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	g.groupOf("egress: {nl: 3, de: 1}, policy: balance")
	g.start()
	listed := g.resolve("fresh.listed.example")
	for _, a := range listed {
		g.awaitVia(g.Client, netlab.ViaTunnel(1), 30*time.Second, a)
		g.wantThreeOfFour(a, netlab.ViaVPN)
	}
	g.wantNoneClear(listed...)
}

// wantThreeOfFour opens flows to an address and wants three of four, within 5%, by the member of
// weight 3 beside one of weight 1.
func (g *gate) wantThreeOfFour(a netip.Addr, heavier netlab.Egress) {
	g.t.Helper()
	by := 0
	const flows = 2000
	for range flows {
		egress, err := g.Client.AskWithin(a, 10*time.Second)
		if err != nil {
			g.t.Fatal(err)
		}
		if egress == heavier {
			by++
		}
	}
	if want := flows * 3 / 4; by < want-flows/20 || by > want+flows/20 {
		g.t.Errorf("%s: %d of %d flows by %s, of weight 3, want %d within 5%%", a, by, flows, heavier, want)
	}
}
