package test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// severalWANs is a gateway with two uplinks, whose firewall translates nothing: main's default
// is by wan0. Names of no list are asked of public resolvers, by the WAN.
func severalWANs(t testing.TB, wan string) (*gate, netlab.Uplink) {
	t.Helper()
	g := bareGate(t, netlab.Options{GoResolvers: true, NoWANNAT: true, TellUplinks: true})
	u := g.AddWAN()
	g.Box.IP(fmt.Sprintf("route add default via %s dev %s metric 5000", u.Gate.V4, u.Link), fmt.Sprintf("route add ::/0 via %s dev %s metric 5000", u.Gate.V6, u.Link))
	g.Box.WriteFiles(netlab.Setup{WAN: " "})
	g.writeWAN(wan)
	return g, u
}

func (g *gate) writeWAN(wan string) {
	g.t.Helper()
	g.Box.Write("gateway.yaml", fmt.Sprintf(`lan: [br-lan]
wan: %s
wan_resolvers: [%s, "%s"]
routes:
  vpn: {wireguard: %s}
lists:
  mine: {file: %s/mine.txt}
`, wan, g.Plan.World2.V4, g.Plan.World2.V6, g.Box.Dir+"/wg0.conf", g.Box.Dir))
}

// silence has the ISP forward nothing of a link of the box any more, wan0 or wan1, or again.
// The link keeps its carrier, and the ISP's own address answers.
func (g *gate) silence(link string, on bool) {
	g.t.Helper()
	at := map[string]string{"wan0": "box0", "wan1": "box1"}[link]
	text := fmt.Sprintf("table inet silent_%[1]s\ndelete table inet silent_%[1]s\n", link)
	if on {
		text += fmt.Sprintf("table inet silent_%s { chain forward { type filter hook forward priority 0; iifname %[2]q drop; oifname %[2]q drop; }; }", link, at)
	}
	g.ISP.NFT(text)
}

// wantOwnSources wants that no packet to these addresses left by an uplink with the source of another.
func (g *gate) wantOwnSources(taps map[string]*wire.Tap, to ...netip.Addr) {
	g.t.Helper()
	g.Settle()
	for link, tap := range taps {
		for _, p := range tap.Packets(wire.To(to...)) {
			of := netlab.ViaWAN
			if link == "wan1" {
				of = netlab.ViaWAN2
			}
			if got := g.Egress(p.Src.Addr()); got != of {
				g.t.Errorf("left by %s with a source of %q: %s", link, got, p)
				break
			}
		}
	}
}

// Guarantee 4: kill switch.
// With two uplinks, what is on no list leaves by the preferred one, and by the other one when an
// ISP goes silent beyond its own router, the carrier being up: packets of clients and of the box,
// TCP and UDP, names, and the packets of tunnels to their endpoints, of both families. How long
// each takes is logged. Not one packet to a listed name takes either uplink meanwhile, and none
// leaves by an uplink with the source of the other. A restart adopts the uplink in force, and
// the preferred one takes over again when it works.
func TestWANFailsOver(t *testing.T) {
	t.Parallel()
	g, _ := severalWANs(t, "{egress: [wan0, wan1], hold: 2s, good: 2}")
	g.start()
	taps := map[string]*wire.Tap{"wan0": netlab.NewTap(g.Box.Namespace, "wan0"), "wan1": netlab.NewTap(g.Box.Namespace, "wan1")}
	other, listed := g.resolve("www.other.example"), g.resolve("fresh.listed.example")
	both := []*netlab.Host{g.Client, g.Box.Host}
	for _, m := range []string{"wan0", "wan1"} {
		g.awaitMember(m, "good")
	}
	for _, from := range both {
		g.awaitVia(from, netlab.ViaWAN, 60*time.Second, other...)
		g.awaitVia(from, netlab.ViaVPN, 60*time.Second, listed...)
	}
	g.Reset()
	g.silence("wan0", true)
	began := time.Now()
	g.awaitVia(g.Client, netlab.ViaWAN2, 60*time.Second, other...)
	t.Logf("packets of clients leave by the other uplink after %v", time.Since(began).Round(time.Millisecond))
	g.awaitVia(g.Box.Host, netlab.ViaWAN2, 60*time.Second, other...)
	g.Box.AwaitNames("moved.other.example", 60*time.Second)
	t.Logf("names: %v", time.Since(began).Round(time.Millisecond))
	for _, from := range both {
		g.awaitVia(from, netlab.ViaVPN, 60*time.Second, listed...)
	}
	t.Logf("the tunnel: %v", time.Since(began).Round(time.Millisecond))
	g.wantNoneClear(listed...)

	g.p.Stop()
	g.start()
	for _, from := range both {
		g.wantVia(from, netlab.ViaWAN2, other...)
	}
	g.Box.AwaitNames("restarted.other.example", 60*time.Second)
	g.silence("wan0", false)
	for _, from := range both {
		g.awaitVia(from, netlab.ViaWAN, 60*time.Second, other...)
		g.awaitVia(from, netlab.ViaVPN, 60*time.Second, listed...)
	}
	g.wantNoneClear(listed...)
	g.wantNoQueryByWAN("listed.example")
	g.wantOwnSources(taps, other...)
}

// Guarantee 3: a flow keeps its route.
// What comes in by either of two uplinks that gateway.yaml names is answered by the same one,
// TCP and UDP, of both families, on the box and, by a port forward, on a LAN host, whichever
// of them is in force and has main's default.
func TestInboundBySeveralWANs(t *testing.T) {
	t.Parallel()
	g, u := severalWANs(t, "{egress: [wan1, wan0], hold: 200ms}")
	g.start()
	other := g.resolve("moved.other.example") // of which no packet is counted below
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.awaitVia(from, netlab.ViaWAN2, 60*time.Second, other...)
	}
	g.wantAnsweredByUplink(u)
	g.writeWAN("{egress: [wan0, wan1], hold: 200ms}")
	g.hangUp("reload complete")
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.awaitVia(from, netlab.ViaWAN, 60*time.Second, other...)
	}
	g.wantAnsweredByUplink(u)
}

// wantAnsweredByUplink calls servers on the box and, translated, on the client by each uplink.
func (g *gate) wantAnsweredByUplink(u netlab.Uplink) {
	g.t.Helper()
	g.Box.NFT(fmt.Sprintf(`table inet port_forward
	delete table inet port_forward
	table inet port_forward {
		chain prerouting {
			type nat hook prerouting priority dstnat
			iifname { wan0, wan1 } meta nfproto ipv4 meta l4proto { tcp, udp } th dport %[1]d dnat ip to %[2]s
			iifname { wan0, wan1 } meta nfproto ipv6 meta l4proto { tcp, udp } th dport %[1]d dnat ip6 to %[3]s
		}
	}`, portLAN, g.Plan.Client.V4, g.Plan.Client.V6))
	boxes := map[string][]netip.Addr{"wan0": g.BoxWAN.All(), "wan1": u.Box.All()}
	taps := map[string]*wire.Tap{"wan0": netlab.NewTap(g.Box.Namespace, "wan0"), "wan1": netlab.NewTap(g.Box.Namespace, "wan1")}
	var closers []func()
	serve := func(on *netlab.Host, at netip.AddrPort) { closers = append(closers, g.echo(on, at)) }
	for _, at := range append(g.BoxWAN.All(), u.Box.All()...) {
		serve(g.Box.Host, netip.AddrPortFrom(at, portBox))
	}
	for _, at := range g.Plan.Client.All() {
		serve(g.Client, netip.AddrPortFrom(at, portLAN))
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
							g.t.Errorf("a host %s, by %s, port %d, %s: %v", name, link, port, proto, err)
						}
					}
					g.Settle()
					for l, tap := range taps {
						if n := len(tap.Packets(wire.To(source))) - before[l]; (n > 0) != (l == link) {
							g.t.Errorf("a host %s, by %s, port %d: answered by %d packets via %s", name, link, port, n, l)
						}
					}
				}
			}
		}
	}
	for _, end := range closers {
		end()
	}
}

// Promise: `policy: balance` of the WAN's interfaces gives new flows of clients to them by their
// weights, within 5% over 2,000 flows of each family. IPv6 with a source that a provider has
// given leaves by that one, with this source.
func TestWANBalances(t *testing.T) {
	t.Parallel()
	const first, second = "2a0e:a0::2", "2a0e:b0::2"
	g, u := severalWANs(t, `{egress: {wan0: {weight: 3, source: "2a0e:a0::/64"}, wan1: {weight: 1, source: "2a0e:b0::/64"}}, policy: balance, probe: ping 31.0.2.2, fails: 1000}`)
	g.Client.IP("addr add "+first+"/64 dev eth0 nodad", "addr add "+second+"/64 dev eth0 nodad")
	g.Box.IP("addr add 2a0e:a0::1/64 dev br-lan nodad", "addr add 2a0e:b0::1/64 dev br-lan nodad")
	g.ISP.IP(fmt.Sprintf("route add 2a0e:a0::/64 via %s", g.BoxWAN.V6), fmt.Sprintf("route add 2a0e:b0::/64 via %s", u.Box.V6))
	g.Client.IP("route replace ::/0 via fd77::1 src fd77::2")
	g.start()
	other := g.resolve("www.other.example")
	for _, m := range []string{"wan0", "wan1"} {
		g.awaitMember(m, "good")
	}
	for _, a := range other {
		g.awaitVia(g.Client, netlab.ViaWAN2, 60*time.Second, a)
		g.wantThreeOfFour(a, netlab.ViaWAN)
	}
	taps := map[string]*wire.Tap{first: netlab.NewTap(g.Box.Namespace, "wan0"), second: netlab.NewTap(g.Box.Namespace, "wan1")}
	for source, tap := range taps {
		from := netip.MustParseAddr(source)
		for i := range 20 {
			conn, err := g.Client.DialWith(net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}, "tcp", netip.AddrPortFrom(other[1], netlab.EchoPort).String())
			if err != nil {
				t.Fatalf("%s, connection %d: %v", source, i, err)
			}
			conn.Close()
		}
		g.Settle()
		for s, o := range taps {
			n := len(o.Packets(wire.From(from), wire.To(other[1])))
			if (n > 0) != (o == tap) {
				t.Errorf("%d packets with source %s by the uplink of %s", n, source, s)
			}
		}
	}
}
