package test

import (
	"fmt"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantee 3: a flow keeps its route.
// A member of the WAN can be known by its next hop alone, without a default in table main, and with
// `snat: off` the box's firewall translates. When the preferred provider goes silent the flows of
// clients and of the box that it carried end, and datagrams go on by the other one. Members leave
// gateway.yaml, come back and change places live, and flows of those that stay go on. Not one
// packet has the source of another member.
func TestWANMembersChange(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, TellUplinks: true})
	u := g.AddWAN()
	g.Box.WriteFiles(netlab.Setup{WAN: " "})
	second := fmt.Sprintf(`wan1: {next_hop: [%s, "%s"]}`, u.Gate.V4, u.Gate.V6)
	both := func(egress string) string { return "{egress: {" + egress + "}, snat: off, hold: 200ms, good: 2}" }
	g.writeWAN(both("wan0: {}, " + second))
	g.start()
	taps := map[string]*wire.Tap{"wan0": netlab.NewTap(g.Box.Namespace, "wan0"), "wan1": netlab.NewTap(g.Box.Namespace, "wan1")}
	other, hosts := g.resolve("www.other.example"), []*netlab.Host{g.Client, g.Box.Host}
	for _, m := range []string{"wan0", "wan1"} {
		g.awaitMember(m, "good")
	}
	leave := func(want netlab.Egress) {
		t.Helper()
		for _, from := range hosts {
			g.awaitVia(from, want, backWithin, other...)
		}
	}
	leave(netlab.ViaWAN)
	var cut, open []*flows
	for _, from := range hosts {
		cut = append(cut, g.flowsOfEither(from, netlab.ViaWAN, other...))
	}
	g.silence("wan0", true)
	leave(netlab.ViaWAN2)
	for _, f := range cut {
		f.wantCut()
		f.close()
	}
	g.silence("wan0", false)
	leave(netlab.ViaWAN)

	for _, from := range hosts {
		open = append(open, g.flows(from, netlab.ViaWAN, other...))
	}
	for _, change := range []struct {
		wan  string
		want netlab.Egress
	}{
		{"wan0", netlab.ViaWAN},                       // one leaves
		{both("wan0: {}, " + second), netlab.ViaWAN},  // it is back
		{both(second + ", wan0: {}"), netlab.ViaWAN2}, // they change places
	} {
		g.writeWAN(change.wan)
		g.hangUp("reload complete")
		leave(change.want)
		for _, f := range open {
			f.wantProgress()
		}
	}
	g.wantOwnSources(taps, other...)
}
