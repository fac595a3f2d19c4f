package test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// defaultOf writes a gateway.yaml whose default route is one of two tunnels, or a group of both,
// and in which near addresses are listed for the WAN.
func (g *gate) defaultOf(wan, def, group string) {
	g.t.Helper()
	g.Box.Write("wg1.conf", g.Tunnels[1].Conf(netlab.ConfOptions{}))
	g.Box.Write("near.txt", "30.200.0.0/16\n2a0f:aa:7::/48\n")
	g.Box.Write("gateway.yaml", fmt.Sprintf(`lan: [br-lan]
wan: %[1]s
wan_resolvers: [%[2]s, "%[3]s"]
default: %[4]s
routes:
  wan: {prefixes: [near]}
  nl: {wireguard: %[6]s/wg0.conf}
  de: {wireguard: %[6]s/wg1.conf}
  vpn: {egress: [nl, de], probe: ping %[7]s, fails: 3, good: 2, hold: 1h%[5]s}
lists:
  mine: {file: %[6]s/mine.txt}
  near: {file: %[6]s/near.txt}
`, wan, g.Plan.World2.V4, g.Plan.World2.V6, def, group, g.Box.Dir, g.Plan.Knot.V4))
	upstream := "nl"
	if def == "vpn" {
		upstream = def
	}
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    listed mine
    route wan
    cache
    upstream wan
}
. {
    cache
    upstream %s %s
}
`, upstream, g.Plan.World.V4))
}

// near are addresses that are listed for the WAN.
func near() []netip.Addr { return parse("30.200.1.1", "2a0f:aa:7::1") }

// Guarantees 3 and 4.
// With several interfaces of the WAN a tunnel can be the default: what no list names takes it, of
// clients and of the box, and it goes on when the preferred provider falls silent, as its own
// packets leave by the other one. So does what is listed for the WAN, names and packets. A socket
// that is bound to an interface, or to its IPv4 address, leaves by that, and what comes in by
// either is answered by it, in front of a port forward, too. The default of clients and that of the
// box are changed live: what has none leaves by the member in force, with the source of that.
func TestDefaultBesideSeveralWANs(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, NoWANNAT: true, TellUplinks: true, Tunnels: 2})
	u := g.AddWAN()
	g.Box.IP(fmt.Sprintf("route add default via %s dev %s metric 5000", u.Gate.V4, u.Link), fmt.Sprintf("route add ::/0 via %s dev %s metric 5000", u.Gate.V6, u.Link))
	g.Box.WriteFiles(netlab.Setup{})
	const wan = "{egress: [wan0, wan1], hold: 2s, good: 2}"
	g.defaultOf(wan, "nl", "")
	g.start()
	both := []*netlab.Host{g.Client, g.Box.Host}
	far, callers, near := g.addresses("far.other.example"), g.addresses("caller.other.example"), near()
	taps := map[string]*wire.Tap{"wan0": netlab.NewTap(g.Box.Namespace, "wan0"), "wan1": netlab.NewTap(g.Box.Namespace, "wan1")}
	for _, m := range []string{"wan0", "wan1"} {
		g.awaitMember(m, "good")
	}
	for _, from := range both {
		g.awaitVia(from, netlab.ViaVPN, backWithin, far...)
		g.awaitVia(from, netlab.ViaWAN, backWithin, near...)
	}
	g.Reset()
	listed := g.resolve("www.listed.example")
	bound := func() {
		t.Helper()
		for family, a := range callers {
			for egress, at := range map[netlab.Egress][]string{netlab.ViaWAN: {"wan0", g.BoxWAN.V4.String()}, netlab.ViaWAN2: {"wan1", u.Box.V4.String()}} {
				for _, to := range at[:2-family] {
					url := "http://" + netip.AddrPortFrom(a, 80).String() + "/"
					if got, err := g.Box.Curl(url, "--interface", to); err != nil || got != egress {
						t.Errorf("curl --interface %s %s: by %q, %v; want %s", to, url, got, err, egress)
					}
				}
			}
		}
	}
	for _, from := range both {
		g.wantVia(from, netlab.ViaVPN, far...)
		g.wantVia(from, netlab.ViaWAN, listed...)
	}
	bound()
	g.wantAnsweredByUplink(u)
	g.wantNoneClear(far...)

	open := []*flows{g.flows(g.Client, netlab.ViaVPN, far...), g.flows(g.Box.Host, netlab.ViaVPN, far...)}
	g.silence("wan0", true)
	for _, from := range both {
		g.awaitVia(from, netlab.ViaWAN2, backWithin, append(listed, near...)...)
		g.awaitVia(from, netlab.ViaVPN, backWithin, far...)
	}
	for _, f := range open {
		f.wantProgress()
	}
	g.Box.AwaitNames("moved.listed.example", backWithin)
	g.Box.AwaitNames("moved.other.example", backWithin)
	g.wantAsked(netlab.ViaVPN, g.World.Queries("moved.other.example"))
	g.wantNoneClear(far...)

	g.Reset()
	for _, c := range []struct {
		def         string
		client, box netlab.Egress
	}{
		{"{clients: nl, box: wan}", netlab.ViaVPN, netlab.ViaWAN2},
		{"{clients: wan, box: nl}", netlab.ViaWAN2, netlab.ViaVPN},
		{"nl", netlab.ViaVPN, netlab.ViaVPN},
	} {
		g.defaultOf(wan, c.def, "")
		g.hangUp("reload complete")
		fresh := g.addresses("fresh.other.example")
		g.awaitVia(g.Client, c.client, backWithin, fresh...)
		g.awaitVia(g.Box.Host, c.box, backWithin, fresh...)
		for _, from := range both {
			g.awaitVia(from, netlab.ViaWAN2, backWithin, near...)
		}
		for _, f := range open {
			f.wantProgress()
		}
	}
	g.wantNoneClear(far...)
	g.silence("wan0", false)
	for _, from := range both {
		g.awaitVia(from, netlab.ViaWAN, backWithin, near...)
		g.awaitVia(from, netlab.ViaVPN, backWithin, far...)
	}
	bound()
	g.wantNoneClear(far...)
	g.wantOwnSources(taps, append(append(listed, near...), append(callers, g.addresses("fresh.other.example")...)...)...)
}

// Guarantee 4: kill switch.
// The default route may be a group of tunnels: what no list names, of clients and of the box, takes
// the member in force, and the next one when that forwards nothing any more. While none is left
// all of it is closed with `on_down: block`, and leaves by the WAN with `on_down: wan`, and what is
// listed for the WAN leaves by that. A restart goes on with the member in force.
func TestDefaultOfGroup(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	g.Box.WriteFiles(netlab.Setup{})
	g.defaultOf("auto", "vpn", "")
	g.start(quickDown...)
	both := []*netlab.Host{g.Client, g.Box.Host}
	far, near := g.addresses("far.other.example"), near()
	via := func(want netlab.Egress) {
		t.Helper()
		for _, from := range both {
			g.awaitVia(from, want, backWithin, far...)
		}
	}
	via(netlab.ViaVPN)
	g.Reset()
	for _, from := range both {
		g.wantVia(from, netlab.ViaWAN, near...)
	}
	g.deaf(0, true)
	via(netlab.ViaTunnel(1))
	g.Box.AwaitNames("moved.other.example", backWithin)
	g.wantAsked(netlab.ViaTunnel(1), g.World.Queries("moved.other.example"))
	g.p.Stop()
	g.start(quickDown...)
	via(netlab.ViaTunnel(1))
	g.wantNoneClear(far...)

	for _, tunnel := range g.Tunnels {
		tunnel.Silence(true)
	}
	netlab.Eventually(t, 2*backWithin, func() error {
		g.wantClosed(g.Box.Host, far[0]) // and the tunnels have something to be silent about
		g.wantClosed(g.Client, far[0])
		return g.routeIs("vpn", "down")
	})
	for _, from := range both {
		g.wantClosed(from, far...)
	}
	g.awaitVia(g.Client, netlab.ViaWAN, backWithin, near...)
	g.wantNoneClear(far...)

	g.defaultOf("auto", "vpn", ", on_down: wan")
	g.hangUp("reload complete")
	via(netlab.ViaWAN)
	for _, tunnel := range g.Tunnels {
		tunnel.Silence(false)
	}
	g.deaf(0, false)
	netlab.Eventually(t, 2*backWithin, func() error { return g.routeIs("vpn", "up") })
	g.Reset()
	g.wantTunnelled(both, g.addresses("back.other.example"))
	if foreign := g.ISP.Foreign(); len(foreign) > 0 {
		t.Errorf("%d packets left by the WAN with another's source, the first: %s", len(foreign), foreign[0])
	}
}

// wantTunnelled wants everything by one of the tunnels.
func (g *gate) wantTunnelled(from []*netlab.Host, addrs []netip.Addr) {
	g.t.Helper()
	for _, host := range from {
		for _, a := range addrs {
			netlab.Eventually(g.t, backWithin, func() error {
				egress, err := host.ConnectWithin(a, 3*time.Second)
				return netlab.Check(err == nil && (egress == netlab.ViaVPN || egress == netlab.ViaTunnel(1)), "%s to %s: by %q, %v", host.Name, a, egress, err)
			})
		}
	}
	g.wantNoneClear(addrs...)
}

// routeIs tells what status says of a route.
func (g *gate) routeIs(name, state string) error {
	p, _ := g.status()
	for _, r := range p.Routes {
		if r.Name == name {
			return netlab.Check(r.State == state, "route %s is %s, want %s", name, r.State, state)
		}
	}
	return fmt.Errorf("no route %s", name)
}
