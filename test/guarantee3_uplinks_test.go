package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 3: a flow keeps its route.
// With two defaults in table main, a connection that comes in by either uplink is answered by the
// same one, on the box and, translated, on a LAN host, also where the remote address is in the
// sets. An uplink without a carrier does not hide the good one, though its metric is better.
func TestUplinks(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	u := g.AddWAN()
	g.Box.IP(fmt.Sprintf("route add default via %s dev %s metric 50", u.Gate.V4, u.Link), fmt.Sprintf("route add ::/0 via %s dev %s metric 2000", u.Gate.V6, u.Link))
	g.Box.WriteFiles(netlab.Setup{})
	g.start()
	g.wantAnsweredByUplink(u)

	other := g.resolve("www.other.example")
	g.UnplugWAN() // main keeps its default, of which nobody says that it leads nowhere
	for _, family := range []string{"-4", "-6"} {
		netlab.Eventually(t, backWithin, func() error {
			out := g.Box.Run("ip", family, "route", "show", "table", "7327")
			return netlab.Check(strings.Contains(out, "dev wan1") && !strings.Contains(out, "dev wan0"), "the WAN's table:\n%s", out)
		})
	}
	mark := fmt.Sprintf("%#x", 127<<24)
	for _, a := range other {
		if out := g.Box.Run("ip", "route", "get", a.String(), "mark", mark); !strings.Contains(out, "dev wan1") {
			t.Errorf("%s: %s", a, out)
		}
	}
	g.PlugWAN()
	netlab.Eventually(t, backWithin+time.Second, func() error {
		out := g.Box.Run("ip", "route", "show", "table", "7327")
		return netlab.Check(strings.Contains(out, "dev wan0"), "the WAN's table:\n%s", out)
	})
}
