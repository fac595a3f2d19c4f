package test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Promise of docs/gateway.yaml.md about snat.
// With `snat: off` clients keep their addresses, and what the box sends to listed names has the
// address of the egress and not the WAN's, which would tell the far side who it is and bring no
// answer: by the interface of another program and by a tunnel, both families, TCP and UDP.
func TestOwnSourcesWithoutSNAT(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, NoWANNAT: true, TellUplinks: true})
	u := g.AddWAN()
	g.Box.IP("link set wan1 down", "link set wan1 name site0", "link set site0 up", fmt.Sprintf("addr add %s/64 dev site0 nodad", u.Box.V6),
		fmt.Sprintf("route add default via %s dev site0 metric 5000", u.Gate.V4), fmt.Sprintf("route add ::/0 via %s dev site0 metric 5000", u.Gate.V6))
	g.ISP.IP(fmt.Sprintf("route add 192.168.77.0/24 via %s", u.Box.V4), fmt.Sprintf("route add fd77::/64 via %s", u.Box.V6))
	g.Internet.IP("route add 192.168.77.0/24 via 31.0.2.1", "route add fd77::/64 via 2a0e:2::1")
	g.Tunnel.RouteLAN(g.Plan.Client.All()...)
	g.Box.Write("wg0.conf", g.WireGuardConf())
	g.Box.Write("site.txt", "site.example\n")
	g.Box.Write("mine.txt", "listed.example\n")
	g.Box.Write("gateway.yaml", `lan: [br-lan]
wan: wan0
routes:
  site: {interface: site0, snat: off}
  vpn: {wireguard: wg0.conf, snat: off}
lists:
  site: {file: site.txt}
  mine: {file: mine.txt}
`)
	resolver := g.Plan.World.V4
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    listed site
    route site
    upstream site %[1]s
}
. {
    listed mine
    route vpn
    upstream vpn %[1]s
}
. {
    upstream wan %[1]s
}
`, resolver))
	tap := netlab.NewTap(g.Box.Namespace, "site0")
	g.start()
	site, mine := g.resolve("www.site.example"), g.resolve("www.listed.example")
	g.awaitVia(g.Client, netlab.ViaLAN, 0, site...)
	g.awaitVia(g.Box.Host, netlab.ViaWAN2, 0, site...)
	g.awaitVia(g.Client, netlab.ViaVPN, 0, mine...) // the provider translates what it sends to hosts
	g.awaitVia(g.Box.Host, netlab.ViaVPN, 0, mine...)
	for _, addrs := range [][]netip.Addr{site, mine} {
		for n, to := range addrs { // of no connection that could be translated
			g.reset(netip.AddrPortFrom(g.BoxWAN.All()[n], 4242), netip.AddrPortFrom(to, netlab.EchoPort))
		}
		g.awaitReached(g.Box.Host, addrs...) // and by now they would have left
	}
	g.Settle()
	sources := func(packets []wire.Packet) map[netip.Addr]bool {
		all := map[netip.Addr]bool{}
		for _, p := range packets {
			all[p.Src.Addr()] = true
		}
		return all
	}
	for name, c := range map[string]struct {
		got map[netip.Addr]bool
		box netlab.Pair
	}{
		"site0":      {sources(tap.Packets(wire.To(site...))), u.Box},
		"the tunnel": {sources(g.Tunnel.Inside(wire.To(mine...))), g.Tunnel.Near},
	} {
		want := append(g.Plan.Client.All(), c.box.All()...)
		for _, a := range want {
			if !c.got[a] {
				t.Errorf("nothing came by %s from %s: %v", name, a, c.got)
			}
			delete(c.got, a)
		}
		if len(c.got) > 0 {
			t.Errorf("by %s came packets from %v; want only %v", name, c.got, want)
		}
	}
}
