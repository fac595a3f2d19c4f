package test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// A route is added and removed while nameroute runs. The other route's flows do not
// notice, and of the removed one nothing stays.
func TestRouteComesAndGoes(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	g.Box.WriteFiles(netlab.Setup{})
	g.start()
	addrs := g.resolve("www.listed.example")
	flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
	g.wantSettledTable()
	before := g.kernelState()
	gatewayYAML, corefile := g.read("gateway.yaml"), g.read("Corefile")
	g.Reset()
	asking, flood := g.ask("listed.example"), g.flood(netlab.ViaVPN, addrs...)

	g.Box.Write("wg2.conf", g.Tunnels[1].Conf(netlab.ConfOptions{}))
	g.Box.Write("second.txt", "second.example\n")
	route := fmt.Sprintf("routes:\n  vpn2:\n    wireguard: %s\n", filepath.Join(g.Box.Dir, "wg2.conf"))
	list := fmt.Sprintf("lists:\n  second:\n    file: %s\n", filepath.Join(g.Box.Dir, "second.txt"))
	g.Box.Write("gateway.yaml", strings.NewReplacer("routes:\n", route, "lists:\n", list).Replace(gatewayYAML))
	g.Box.Write("Corefile", fmt.Sprintf(". {\n  listed second\n  route vpn2\n  cache\n  upstream vpn2 %s\n}\n%s", g.Plan.World.V6, corefile))
	added := time.Now()
	g.hangUp("reload complete")
	g.Box.AwaitNames("ready.second.example", 5*time.Second)
	second := g.resolve("www.second.example")
	g.awaitVia(g.Client, netlab.ViaTunnel(1), 8*time.Second, second...)
	t.Logf("the new route works after %v", time.Since(added).Round(time.Millisecond))
	g.wantVia(g.Client, netlab.ViaTunnel(1), second...)
	g.wantVia(g.Box.Host, netlab.ViaTunnel(1), second...)
	g.wantQueriesBy("www.second.example", netlab.ViaTunnel(1))
	for _, a := range second { // flows that are to be taken over via the WAN
		g.Client.Flow(a)
		g.datagrams(g.Client, a, "")
	}
	g.wantVia(g.Client, netlab.ViaVPN, g.resolve("fresh.listed.example")...)
	g.wantNoneClear(append(second, addrs...)...)

	g.Box.Write("Corefile", corefile)
	g.Box.Write("gateway.yaml", gatewayYAML)
	g.hangUp("reload complete")
	_ = netlab.Poll(30*time.Second, func() error { return netlab.Check(g.kernelState() == before, "not yet") })
	g.wantSame("after the route was removed", before, g.kernelState())
	// The removed route's flows have the tunnel's source until the sidecar ends them.
	if foreign := g.ISP.Foreign(); len(foreign) > 0 {
		t.Errorf("%d packets left via the WAN with a source that is not its own, the first: %s", len(foreign), foreign[0])
	}
	if out, err := g.Box.Exec("ip", "link", "show", "wg2"); err == nil {
		t.Errorf("the removed route's interface is still there: %s", out)
	}
	g.wantVia(g.Client, netlab.ViaWAN, g.resolve("later.second.example")...)

	flows.wantProgress()
	tcp, udp := flows.worst()
	t.Logf("flows of the other route: longest gap over TCP %v, over UDP %v; %d new ones", tcp, udp, flood.stop(g))
	asking.wantAllAnswered(g)
	g.wantNoneClear(addrs...)
	g.wantNoQueryByWAN("listed.example")
}

// Guarantee 7: restart, reload, upgrade, crash, flush: nothing is lost.
// An address belongs to the route whose block lists its name: when a route is renamed, by a
// reload or while nothing runs, and when a list moves to another route, it moves with its
// name. No packet leaves via the WAN meanwhile, of new flows and of those that there are.
func TestAddressesFollowTheirNames(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	g.Box.WriteFiles(netlab.Setup{})
	g.start()
	var addrs []netip.Addr
	for i := range 3 {
		addrs = append(addrs, g.resolve(fmt.Sprintf("n%d.listed.example", i))...)
	}
	g.flows(g.Client, netlab.ViaVPN, addrs[:2]...)
	g.flows(g.Box.Host, netlab.ViaVPN, addrs[:2]...)
	gatewayYAML, corefile := g.read("gateway.yaml"), g.read("Corefile")
	g.Reset()
	flood := g.flood("", addrs...) // the packets are counted
	wantMoved := func(when string, to netlab.Egress) {
		t.Helper()
		for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
			g.awaitVia(from, to, 20*time.Second, addrs...)
		}
		g.Settle()
		if leaked := g.ISP.Clear(wire.To(addrs...)); len(leaked) > 0 {
			t.Fatalf("%s: %d packets left via the WAN, the first: %s", when, len(leaked), leaked[0])
		}
		if foreign := g.ISP.Foreign(); len(foreign) > 0 {
			t.Fatalf("%s: %d packets left via the WAN with a source that is not its own, the first: %s", when, len(foreign), foreign[0])
		}
	}
	rename := func(to string) {
		g.Box.Write("gateway.yaml", strings.ReplaceAll(gatewayYAML, "\n  vpn:\n", "\n  "+to+":\n"))
		g.Box.Write("Corefile", strings.NewReplacer("route vpn", "route "+to, "upstream vpn", "upstream "+to).Replace(corefile))
	}
	rename("tunnel")
	g.hangUp("reload complete")
	wantMoved("renamed", netlab.ViaVPN)

	if err := g.p.Stop(); err != nil {
		t.Fatal(err)
	}
	rename("vpn")
	g.start()
	wantMoved("renamed while nothing ran", netlab.ViaVPN)

	g.Box.Write("wg2.conf", g.Tunnels[1].Conf(netlab.ConfOptions{}))
	second := fmt.Sprintf("routes:\n  vpn2:\n    wireguard: %s\n", filepath.Join(g.Box.Dir, "wg2.conf"))
	g.Box.Write("gateway.yaml", strings.Replace(gatewayYAML, "routes:\n", second, 1))
	g.hangUp("reload complete")
	g.Box.Write("Corefile", strings.NewReplacer("route vpn", "route vpn2", "upstream vpn", "upstream vpn2").Replace(corefile))
	g.hangUp("reload complete")
	wantMoved("the list has moved", netlab.ViaTunnel(1))
	for _, set := range []string{"vpn4", "vpn6", "tunnel4"} {
		netlab.Eventually(t, 30*time.Second, func() error {
			out, _ := g.Box.Exec("nft", "list", "set", "inet", "nameroute", set)
			return netlab.Check(!strings.Contains(out, "elements"), "set %s still has elements: %s", set, out)
		})
	}
	flood.end()
	if n := flood.sent.Load(); n < 50 {
		t.Errorf("only %d flows were tried: that proves nothing", n)
	}
}
