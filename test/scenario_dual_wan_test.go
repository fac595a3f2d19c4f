package test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantees 3 and 4, for docs/scenarios/dual-wan.md.
// What is on no list leaves by the first of two providers, from its address and asked at its
// resolver; by the second, from the address and at the resolver of that, when the first
// forwards nothing any more. What is listed takes the tunnel all the time, whose flows go on. What
// comes in by either is answered by it, whichever is in force.
func TestScenarioDualWAN(t *testing.T) {
	t.Parallel()
	g := scenario(t, netlab.Options{GoResolvers: true, NoWANNAT: true, TellUplinks: true}, "dual-wan.md", 0)
	u := g.AddWAN()
	g.Box.IP(fmt.Sprintf("route add default via %s dev %s metric 5000", u.Gate.V4, u.Link), fmt.Sprintf("route add ::/0 via %s dev %s metric 5000", u.Gate.V6, u.Link))
	g.Box.Write("wg0.conf", g.WireGuardConf())
	g.Box.Write("mine.txt", "listed.example\n")
	g.ownEtc()
	resolvers := map[netlab.Egress]netip.Addr{netlab.ViaWAN: g.Plan.World.V4, netlab.ViaWAN2: g.Plan.World2.V4}
	for link, at := range map[string]netip.Addr{"wan0": resolvers[netlab.ViaWAN], u.Link: resolvers[netlab.ViaWAN2]} {
		g.put("mkdir -p /run/dhcpcd/hook-state/resolv.conf; cat > /run/dhcpcd/hook-state/resolv.conf/"+link+".dhcp", fmt.Sprintf("nameserver %s\n", at))
	}
	g.start()
	both := []*netlab.Host{g.Client, g.Box.Host}
	other, listed := g.addresses("www.other.example"), g.resolve("www.listed.example")
	by := func(want netlab.Egress, name string) {
		t.Helper()
		for _, from := range both {
			g.awaitVia(from, want, 60*time.Second, other...)
		}
		n := 0
		netlab.Eventually(t, 60*time.Second, func() error {
			n++
			name := fmt.Sprintf("n%d.%s", n, name)
			if _, err := g.Client.Resolve(name); err != nil {
				return err
			}
			for _, q := range g.World.Queries(name) {
				if q.Egress != want || q.Server != resolvers[want] {
					return fmt.Errorf("want it asked at %s via %s: %s", resolvers[want], want, q)
				}
			}
			return nil
		})
		for _, from := range both {
			g.awaitVia(from, netlab.ViaVPN, 60*time.Second, listed...)
		}
	}
	by(netlab.ViaWAN, "first.example")
	g.serveEcho(g.Box.Host, netip.AddrPortFrom(netip.IPv4Unspecified(), 7007))
	g.wantWarnings("servers of this box on UDP 7007 of all addresses answer")
	g.wantAnsweredByUplink(u)
	g.Reset()
	tunnelled := g.flows(g.Client, netlab.ViaVPN, listed...)
	g.silence("wan0", true)
	by(netlab.ViaWAN2, "second.example")
	tunnelled.wantProgress()
	g.wantNoneClear(listed...)
	g.wantNoQueryByWAN("listed.example")
	g.awaitStatus(func(s page, code int) error {
		return netlab.Check(code == 10 && slices.Contains(s.Because, "route wan: probes of its member wan0 fail"), "status ends with %d: %q", code, s.Because)
	})
	g.silence("wan0", false) // and the second provider stays in force for a minute
	g.wantAnsweredByUplink(u)
}
