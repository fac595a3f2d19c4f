package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 4: kill switch.
// What DHCP (option 121), router advertisements (RFC 4191), lists of networks and VPN clients
// put into table main by the WAN's gateway takes nothing away from a route: not the packets to
// learned addresses, nor the queries to its resolvers, of clients and of the box, whether it was
// there before the start or comes later. What table main has on lan stays where it is.
func TestKernelRoutesOfMain(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		t.Run(fmt.Sprintf("before the start: %v", before), func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			g.Box.WriteFiles(netlab.Setup{})
			if before {
				g.byWAN("30.0.0.0/8", "28.0.0.0/6", "2a0f::/16", "2a00::/12")
				g.start()
			} else {
				g.start()
				old := g.resolve("old.listed.example")
				client, box := g.flows(g.Client, netlab.ViaVPN, old...), g.flows(g.Box.Host, netlab.ViaVPN, old...)
				g.byWAN("30.0.0.0/8", "28.0.0.0/6", "2a0f::/16", "2a00::/12")
				client.wantProgress()
				box.wantProgress()
			}
			g.wantMainIsTheWANs()
		})
	}
}

// byWAN sends networks to the WAN's gateway in table main.
func (g *gate) byWAN(networks ...string) {
	g.t.Helper()
	for _, n := range networks {
		via := "31.0.1.1 dev wan0 proto dhcp"
		if strings.Contains(n, ":") {
			via = "2a0e:1::1 dev wan0 proto ra"
		}
		g.Box.IP("route add " + n + " via " + via)
	}
}

func (g *gate) wantMainIsTheWANs() {
	g.t.Helper()
	g.Reset()
	addrs := append(g.resolve("www.listed.example"), g.resolve("www2.listed.example")...)
	for _, a := range append(addrs, g.Tunnel.Far.All()...) { // hosts, the route's own resolvers among them
		g.byWAN(a.String())
	}
	g.awaitLocal("28.0.0.0/6 via 31.0.1.1 dev wan0: leaves by the WAN")
	more := g.resolve("more.listed.example")
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.wantVia(from, netlab.ViaVPN, append(addrs, more...)...)
		g.wantVia(from, netlab.ViaWAN, g.resolve("www.other.example")...)
	}
	g.wantNoneClear(append(addrs, more...)...)
	g.wantNoQueryByWAN("listed.example")
	g.wantQueriesBy("listed.example", netlab.ViaVPN)

	// A network behind a router on lan, with public addresses, in which a part is the WAN's.
	g.Client.IP("addr add 30.77.0.1/32 dev lo", "addr add 2a0f:77::1/128 dev lo nodad")
	g.Box.IP("route add 30.77.0.0/16 via 192.168.77.2", "route add 2a0f:77::/32 via fd77::2")
	g.byWAN("30.77.128.0/17", "2a0f:77:8000::/33")
	g.awaitLocal("30.77.0.0/16 via 192.168.77.2 dev br-lan: kernel route in main, on lan")
	mark := g.vpnMark()
	for to, want := range map[string]string{
		"30.77.0.1": "dev br-lan", "2a0f:77::1": "dev br-lan", "192.168.77.2": "dev br-lan", "31.0.1.1": "dev wan0",
		"30.77.128.1": "dev wg0", "2a0f:77:8000::1": "dev wg0", "30.1.1.1": "dev wg0", addrs[0].String(): "dev wg0", addrs[1].String(): "dev wg0",
	} {
		netlab.Eventually(g.t, backWithin, func() error {
			out, err := g.Box.Exec("ip", "route", "get", to, "mark", mark)
			return netlab.Check(err == nil && strings.Contains(out, want), "%s: %s, %v, want %s", to, out, err, want)
		})
	}
}

// Guarantee 4: kill switch.
// A WAN whose DHCP server says that the internet is its own network (TunnelCrack's LocalNet) gets
// no packet to a listed name, of clients and of the box; its router stays local, and it is told.
func TestWANClaimsTheInternet(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	addrs := g.resolve("www.listed.example")
	g.Box.IP("addr add 30.200.0.2/8 dev wan0", "addr add 2a0f:200::2/16 dev wan0 nodad")
	g.p.WaitOutput("networks are not taken as local", backWithin)
	g.Reset()
	more := g.resolve("more.listed.example")
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.wantVia(from, netlab.ViaVPN, append(addrs, more...)...)
		g.wantVia(from, netlab.ViaWAN, g.Plan.ISP.All()...)
	}
	g.wantNoneClear(append(addrs, more...)...)
	g.wantNoQueryByWAN("listed.example")
	out, _ := g.Box.Exec(append([]string{binary, "check"}, g.Box.Flags()...)...)
	for _, network := range []string{"30.0.0.0/8 dev wan0", "2a0f::/16 dev wan0"} {
		if !strings.Contains(out, network+" is not taken for a local network: larger than any uplink's network") {
			t.Errorf("check does not tell of %s:\n%s", network, out)
		}
	}
	g.Box.IP("addr del 30.200.0.2/8 dev wan0", "addr del 2a0f:200::2/16 dev wan0")
	g.p.WaitOutput("all networks of the box are taken as local again", backWithin)
}

// vpnMark is the mark of route vpn, as `ip route get` takes it.
func (g *gate) vpnMark() string { return fmt.Sprintf("%#x", uint32(g.vpnTable()-7200)<<24) }

// awaitLocal waits until status lists a network with the words why it is local, or not.
func (g *gate) awaitLocal(want string) {
	g.t.Helper()
	netlab.Eventually(g.t, backWithin, func() error {
		var d struct {
			Local struct {
				Networks, Others []struct {
					Prefix, Via, Because string
					Links                []string
				}
			}
		}
		if err := json.Unmarshal([]byte(g.printedStatus("--json")), &d); err != nil {
			return err
		}
		var lines []string
		for _, n := range append(d.Local.Networks, d.Local.Others...) {
			line := fmt.Sprintf("%s via %s dev %s: %s", n.Prefix, n.Via, strings.Join(n.Links, " dev "), n.Because)
			lines = append(lines, strings.Replace(line, " via  ", " ", 1))
		}
		return netlab.Check(slices.Contains(lines, want), "status does not say %q:\n%s", want, strings.Join(lines, "\n"))
	})
}
