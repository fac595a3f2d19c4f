package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantees 3 and 4, for docs/scenarios/provider-hopping.md.
// Three providers whose files say the same Address and the same DNS. The first is cut at the
// wire: its downloads end, the next one carries names and packets of both families, asked at its own resolver.
// With `move: keep`, taken up live, those of the second one wait for it and go on. Not a
// packet leaves by the WAN.
func TestScenarioProviderHopping(t *testing.T) {
	t.Parallel()
	g := scenario(t, netlab.Options{GoResolvers: true, Tunnels: 3}, "provider-hopping.md", 0)
	g.Box.Write("mine.txt", "listed.example\n")
	for n, file := range []string{"nl.conf", "de.conf", "us.conf"} {
		g.Box.Write(file, g.alike(g.Tunnels[n]))
	}
	g.start()
	both := []*netlab.Host{g.Client, g.Box.Host}
	addrs := g.resolve("www.listed.example")
	via := func(n int, name string) {
		t.Helper()
		for _, from := range both {
			g.awaitVia(from, netlab.ViaTunnel(n), 30*time.Second, addrs...)
		}
		g.Box.AwaitNames(name, 30*time.Second)
		for _, q := range g.World.Queries(name) {
			if !g.Tunnels[n].Far.Has(q.Server) {
				t.Errorf("want it asked at %s: %s", g.Tunnels[n].Far, q)
			}
		}
	}
	g.wantWarnings()
	via(0, "first.listed.example")
	g.Reset()

	var downloads []*netlab.Flow
	var calls []*datagrams
	for _, a := range addrs {
		downloads = append(downloads, g.Client.Flow(a))
		calls = append(calls, g.datagrams(g.Client, a, ""))
	}
	g.ISP.Down("vpn")
	via(1, "second.listed.example")
	for i := range addrs {
		netlab.Eventually(t, 30*time.Second, func() error {
			r := downloads[i].Report()
			return netlab.Check(r.Err != nil, "a download by the first provider has not ended: %s", r)
		})
		if !calls[i].progress(goesOnWithin) {
			t.Errorf("a call to %s does not go on by the second provider", addrs[i])
		}
		calls[i].conn.Close()
	}
	g.Box.Write("gateway.yaml", strings.Replace(g.read("gateway.yaml"), "move: cut", "move: keep", 1))
	waiting := g.flows(g.Client, netlab.ViaTunnel(1), addrs...)
	g.hangUp("reload complete")
	waiting.wantProgress()
	g.Tunnels[1].Silence(true)
	via(2, "third.listed.example")
	for _, f := range waiting.tcp {
		if r := f.Report(); r.Err != nil {
			t.Errorf("a download by the second provider ended: %s", r)
		}
	}
	g.Tunnels[1].Silence(false)
	waiting.wantProgress()
	g.wantNoneClear(addrs...)
	g.wantNoQueryByWAN("listed.example")
}

// alike gives a tunnel the addresses that all files of some providers have, and returns its file.
func (g *gate) alike(v *netlab.Tunnel) string {
	g.t.Helper()
	const near4, near6, dns4, dns6 = "10.2.0.2", "fd02::2", "10.2.0.1", "fd02::1"
	v.Run("wg", "set", "wg0", "peer", v.BoxKey(), "allowed-ips", near4+"/32,"+near6+"/128")
	v.IP("route add "+near4+" dev wg0", "route add "+near6+" dev wg0")
	v.NFT(fmt.Sprintf(`table inet alike { chain prerouting { type nat hook prerouting priority dstnat
		iifname wg0 ip daddr %s dnat ip to %s
		iifname wg0 ip6 daddr %s dnat ip6 to %s
	}; }`, dns4, v.Far.V4, dns6, v.Far.V6))
	near := strings.NewReplacer(v.Near.V4.String(), near4, v.Near.V6.String(), near6, v.Far.V4.String(), dns4, v.Far.V6.String(), dns6)
	return near.Replace(v.Conf(netlab.ConfOptions{}))
}
