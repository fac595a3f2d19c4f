package test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantee 5: no routing loops.
// A provider's `Address = x/24` that overlaps the LAN and the uplink takes neither away from the
// box, even when their links come up after the tunnel; check says so. Its other network is reached
// through the tunnel by clients and the box, and by nothing else while that is down.
func TestTunnelNetworkOverlaps(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	near := g.Tunnel.Near
	conf := g.WireGuardConf()
	conf = strings.Replace(conf, near.V4.String()+"/32", near.V4.String()+"/24, 192.168.77.200/24, 31.0.1.200/24", 1)
	conf = strings.Replace(conf, near.V6.String()+"/128", near.V6.String()+"/64, fd77::200/64, 2a0e:1::200/64", 1)
	g.Box.WriteFiles(netlab.Setup{Conf: conf})
	g.start(quickDown...)
	netlab.Eventually(t, backWithin, func() error { // the handshake is seen a moment after it
		_, err := g.Box.Exec(append([]string{binary, "status"}, g.Box.Flags()...)...)
		return err
	})
	g.Box.Sh(`ip link set br-lan down; ip link set br-lan up; ip addr replace fd77::1/64 dev br-lan nodad
		ip link set wan0 down; ip link set wan0 up; ip addr replace 2a0e:1::2/64 dev wan0 nodad
		ip route replace default via 31.0.1.1 dev wan0; ip -6 route replace default via 2a0e:1::1 dev wan0`)
	for to, want := range map[string]string{
		"192.168.77.2": "br-lan", "fd77::2": "br-lan", "31.0.1.1": "wan0", "2a0e:1::1": "wan0", g.Tunnel.Far.V4.String(): "wg0", g.Tunnel.Far.V6.String(): "wg0",
	} {
		netlab.Eventually(t, backWithin, func() error {
			out, err := g.Box.Exec("ip", "route", "get", to)
			return netlab.Check(err == nil && strings.Contains(out, "dev "+want+" "), "%s: %s, %v; want %s", to, out, err, want)
		})
	}
	g.awaitVia(g.Client, netlab.ViaVPN, backWithin, g.resolve("www.listed.example")...)
	g.wantVia(g.Client, netlab.ViaWAN, g.resolve("www.other.example")...)
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		for _, a := range g.Tunnel.Far.All() {
			if _, err := from.QueryAt(netip.AddrPortFrom(a, 53), newQuery("www.other.example"), "udp"); err != nil {
				t.Errorf("%s does not reach %s: %v", from.Name, a, err)
			}
		}
	}
	out, _ := g.Box.Exec(append([]string{binary, "check"}, g.Box.Flags()...)...)
	for _, want := range []string{"192.168.77.200/24", "fd77::200/64", "31.0.1.200/24", "2a0e:1::200/64"} {
		if !strings.Contains(out, "Address = "+want+" overlaps ") {
			t.Errorf("check does not tell of %s:\n%s", want, out)
		}
	}
	g.Reset()
	g.Box.Down("wg0")
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		for _, a := range g.Tunnel.Far.All() {
			from.QueryAt(netip.AddrPortFrom(a, 53), newQuery("www.other.example"), "udp")
		}
	}
	g.Settle()
	if leaked := g.ISP.Clear(wire.To(g.Tunnel.Far.All()...)); len(leaked) > 0 {
		t.Errorf("%d packets to the tunnel's network left by the WAN, the first: %s", len(leaked), leaked[0])
	}
}
