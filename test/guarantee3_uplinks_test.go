package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
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
	g.Box.NFT(fmt.Sprintf(`table inet port_forward {
		chain prerouting {
			type nat hook prerouting priority dstnat
			iifname { wan0, wan1 } meta nfproto ipv4 meta l4proto { tcp, udp } th dport %[1]d dnat ip to %[2]s
			iifname { wan0, wan1 } meta nfproto ipv6 meta l4proto { tcp, udp } th dport %[1]d dnat ip6 to %[3]s
		}
	}`, portLAN, g.Plan.Client.V4, g.Plan.Client.V6))
	boxes := map[string][]netip.Addr{"wan0": g.BoxWAN.All(), "wan1": u.Box.All()}
	taps := map[string]*wire.Tap{"wan0": netlab.NewTap(g.Box.Namespace, "wan0"), "wan1": netlab.NewTap(g.Box.Namespace, "wan1")}
	for _, at := range append(g.BoxWAN.All(), u.Box.All()...) {
		g.serveEcho(g.Box.Host, netip.AddrPortFrom(at, portBox))
	}
	for _, at := range g.Plan.Client.All() {
		g.serveEcho(g.Client, netip.AddrPortFrom(at, portLAN))
	}
	for name, sources := range map[string][]netip.Addr{"in the sets": g.resolve("www.listed.example"), "of no list": g.resolve("www.other.example")} {
		for link, at := range boxes {
			for family, source := range sources {
				for _, port := range []uint16{portBox, portLAN} {
					before := map[string]int{}
					for l, tap := range taps {
						before[l] = len(tap.Packets(wire.To(source)))
					}
					for _, proto := range []string{"tcp", "udp"} {
						if err := g.call(proto, source, netip.AddrPortFrom(at[family], port)); err != nil {
							t.Errorf("a host %s, by %s, port %d, %s: %v", name, link, port, proto, err)
						}
					}
					g.Settle()
					for l, tap := range taps {
						if n := len(tap.Packets(wire.To(source))) - before[l]; (n > 0) != (l == link) {
							t.Errorf("a host %s, by %s, port %d: answered by %d packets via %s", name, link, port, n, l)
						}
					}
				}
			}
		}
	}

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
