package test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantees 4 and 6, for docs/scenarios/house.md.
// The same three names, by four clients: each goes by the egress of its class, is asked at that egress's resolver,
// and is as for everybody where the class has no word about it. While the guests' tunnel is
// silent they have nothing, and the others notice nothing.
func TestScenarioHouse(t *testing.T) {
	t.Parallel()
	const mac, laptop4, laptop6 = "00:00:5e:00:53:07", "192.168.77.40", "fd77::40"
	g := scenario(t, netlab.Options{GoResolvers: true, Tunnels: 3}, "house.md", 0,
		"00:00:5e:00:53:01", mac, "192.168.1.40", laptop4, "fd00:1::40", laptop6)
	family, guest, us, office, vpn := g.Client, g.guest(), g.Tunnels[0], g.Tunnels[1], g.Tunnels[2]
	laptop, tv := g.houseClient("laptop", "lan2", laptop4, laptop6), g.houseClient("tv", "lan1", "192.168.77.5", "fd77::5")
	tv.IP("link set eth0 address " + mac)
	g.Box.Write("us.conf", us.Conf(netlab.ConfOptions{}))
	g.Box.Write("office.conf", strings.Replace(office.Conf(netlab.ConfOptions{}), "0.0.0.0/0, ::/0", fmt.Sprintf("%s/24, fd67::/64, 10.20.0.0/16, fd20::/48", office.Far.V4), 1))
	g.Box.Write("vpn.conf", vpn.Conf(netlab.ConfOptions{}))
	g.Box.Write("streaming.txt", "streaming.example\n")
	g.Box.Write("office.txt", "office.example\n")
	g.Box.Write("everything.txt", "0.0.0.0/0\n::/0\n")
	intranet := parse("10.20.0.5", "fd20::5")
	office.IP("addr add 10.20.0.5/32 dev lo", "addr add fd20::5/128 dev lo nodad")
	g.World.Add("intranet.office.example. 60 IN A 10.20.0.5", "intranet.office.example. 60 IN AAAA fd20::5")
	g.startAnswering()

	byUS, byVPN := netlab.ViaTunnel(us.Number), netlab.ViaTunnel(vpn.Number)
	want := func(from *netlab.Host, egress netlab.Egress, names ...string) {
		t.Helper()
		for _, name := range names {
			g.Reset()
			g.wantAt(from, name, egress)
		}
	}
	const streaming, other = "www.streaming.example", "www.other.example"
	want(guest, byVPN, streaming, other)
	want(family, netlab.ViaWAN, streaming, other)
	want(tv, byUS, streaming)
	want(tv, netlab.ViaWAN, other)
	want(laptop, netlab.ViaWAN, streaming, other)
	want(guest, byVPN, streaming, other)

	g.Reset()
	got, err := laptop.Resolve("intranet.office.example")
	if err != nil || !slices.Equal(got, intranet) {
		t.Errorf("the laptop's answer: %v, %v; want %v", got, err, intranet)
	}
	g.wantAsked(netlab.ViaTunnel(office.Number), g.World.Queries("intranet.office.example"))
	g.awaitReached(laptop, intranet...)
	g.Settle()
	office.Tap.Reset()
	for _, from := range []*netlab.Host{family, tv, guest} {
		if got, err := from.Resolve("intranet.office.example"); err != nil || len(got) > 0 {
			t.Errorf("%s: %v, %v; want no address", from.Name, got, err)
		}
		g.wantClosed(from, intranet...)
	}
	g.Settle()
	opens := func(p wire.Packet) bool { return p.Proto != unix.IPPROTO_TCP || p.SYN() } // the laptop's flows may still be ending
	if came := office.Tap.Packets(wire.To(intranet...), opens); len(came) > 0 {
		t.Errorf("packets of others came to the office: %v", came)
	}

	g.wantWarnings()
	g.Reset()
	vpn.Silence(true)
	only := g.addresses(streaming, other, "only.guest.example")
	g.wantClosed(guest, only...)
	if _, err := guest.Resolve("fresh.guest.example"); err == nil {
		t.Error("a guest's name was answered while its tunnel is silent")
	}
	g.wantNoneClear(only...)
	g.wantNoQueryByWAN("guest.example")
	want(family, netlab.ViaWAN, "fresh.other.example")
	want(tv, byUS, "fresh.streaming.example")
}

// awaitReached waits until addresses answer over TCP and UDP, whatever source they see.
func (g *gate) awaitReached(from *netlab.Host, addrs ...netip.Addr) {
	g.t.Helper()
	for _, a := range addrs {
		for _, try := range []func(netip.Addr, time.Duration) (netlab.Egress, error){from.ConnectWithin, from.AskWithin} {
			netlab.Eventually(g.t, 30*time.Second, func() error {
				_, err := try(a, time.Second)
				return err
			})
		}
	}
}

// houseClient is a further machine on the LAN, by a port of the box's bridge.
func (g *gate) houseClient(name, port string, v4, v6 string) *netlab.Host {
	g.t.Helper()
	h := g.Host(name)
	netlab.Cable(h.Namespace, "eth0", g.Box.Namespace, port)
	g.Box.IP("link set " + port + " master br-lan")
	h.IP("addr add "+v4+"/24 dev eth0", "addr add "+v6+"/64 dev eth0 nodad",
		"route add default via "+g.BoxLAN.V4.String(), "route add ::/0 via "+g.BoxLAN.V6.String())
	return h
}

// guest is a machine on a network of its own behind the box.
func (g *gate) guest() *netlab.Host {
	g.t.Helper()
	h := g.Host("guest")
	netlab.Cable(h.Namespace, "eth0", g.Box.Namespace, "guest0")
	g.Box.IP("addr add 192.168.78.1/24 dev guest0", "addr add fd78::1/64 dev guest0 nodad")
	h.IP("addr add 192.168.78.2/24 dev eth0", "addr add fd78::2/64 dev eth0 nodad", "route add default via 192.168.78.1", "route add ::/0 via fd78::1")
	return h
}
