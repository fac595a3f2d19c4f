package test

import (
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 4: kill switch.
// A firewall that is loaded before nameroute writes whole marks and ct marks. Listed flows,
// forwarded and own, old and new, keep their route. Where it writes after our last chain
// they are blocked, and status and check name the rule.
func TestMarksOverwritten(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	g.Box.NFT(`table inet other {
	chain pre { type filter hook prerouting priority mangle; meta mark set 0x1; ct mark set meta mark; }
	chain out { type route hook output priority mangle; meta mark set 0x1; ct mark set meta mark; }
	chain post { type filter hook postrouting priority mangle; meta mark set 0x1; ct mark set 0xffffffff; }
	chain last { type filter hook prerouting priority 2147483647; }
}`)
	g.start()
	addrs := g.resolve("www.listed.example")
	g.wantVia(g.Client, netlab.ViaVPN, addrs...)
	g.wantVia(g.Box.Host, netlab.ViaVPN, addrs...)
	client, box := g.flows(g.Client, netlab.ViaVPN, addrs...), g.flows(g.Box.Host, netlab.ViaVPN, addrs...)
	client.wantProgress()
	box.wantProgress()
	g.wantVia(g.Client, netlab.ViaWAN, g.resolve("www.other.example")...)
	g.wantNoQueryByWAN("listed.example")
	g.wantNoneClear(addrs...)

	client.close()
	g.Box.Run("nft", "add", "rule", "inet", "other", "last", "meta", "mark", "set", "0x1")
	g.wantClosed(g.Client, addrs...)
	g.wantNoneClear(addrs...)
	box.wantProgress()
	const rule = "chain inet other last, rule handle"
	g.awaitStatusSays(rule)
	if out := strings.Join(strings.Fields(g.nameroute("check")), " "); !strings.Contains(out, rule) {
		t.Errorf("check does not name the rule:\n%s", out)
	}
}
