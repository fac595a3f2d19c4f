package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
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
	_ = netlab.Poll(8*time.Second, func() error { return netlab.Check(g.kernelState() == before, "not yet") })
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
