package test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantee 5: no routing loops.
// Whatever a listed name answers with, the box, its LAN, its uplink and
// its tunnel stay reachable the way they were.
func TestAnswersThatWouldLoop(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	g.Box.IP("addr add 31.0.1.77/24 dev wan0") // a second address of the box's own
	special := parse("127.0.0.1", "127.0.0.53", "0.0.0.0", "10.66.0.1", "10.0.0.7", "172.16.9.9", "192.168.77.1", "192.168.77.2",
		"192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.251", "239.255.255.250", "255.255.255.255", "192.0.2.1",
		"::1", "::", "fe80::1", "fd77::1", "fd77::2", "fd66::1", "ff02::1", "ff02::fb", "2001:db8::1", "::ffff:127.0.0.1")
	own := parse("31.0.1.1", "31.0.1.2", "31.0.1.77", "31.0.1.200", "2a0e:1::1", "2a0e:1::2", "2a0e:1::200")
	endpoint := g.Tunnel.Endpoint.All()
	evil := append(append(own, endpoint...), special...)

	before := g.resolve("before.listed.example")
	f := g.flows(g.Client, netlab.ViaVPN, before...)
	g.Reset()
	f.resetGap()
	for i, a := range evil {
		for _, name := range []string{fmt.Sprintf("evil%d.listed.example", i), "all.listed.example"} {
			g.World.Add(record(name, a), fmt.Sprintf("%s. 60 IN HTTPS 1 . %s", name, hint(a)))
		}
		g.query(fmt.Sprintf("evil%d.listed.example", i), typeOf(a), protos[i%len(protos)])
		g.query(fmt.Sprintf("evil%d.listed.example", i), dns.TypeHTTPS, protos[i%len(protos)])
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS} {
		g.query("all.listed.example", qtype, "tcp")
	}

	g.wantNotLearned("vpn", special...)
	for _, word := range g.sets("vpn") {
		if a, err := netip.ParseAddr(word); err == nil && gateway.IsSpecial(a) {
			t.Errorf("%s, which is for special use, is in the sets", a)
		}
	}
	// The uplink and the box's own addresses, from the LAN and from the box.
	g.wantVia(g.Client, netlab.ViaWAN, g.Plan.ISP.All()...)
	g.wantVia(g.Box.Host, netlab.ViaWAN, g.Plan.ISP.All()...)
	for _, at := range append(g.BoxLAN.All(), g.BoxWAN.All()...) {
		if _, err := g.Client.QueryAt(netip.AddrPortFrom(at, 53), newQuery("at.listed.example"), "udp"); err != nil {
			t.Errorf("the box at %s: %v", at, err)
		}
	}
	for _, ping := range [][2]string{{"box", g.Plan.Client.V4.String()}, {"box", g.Plan.Client.V6.String()}, {"client", g.BoxWAN.V4.String()}, {"client", g.BoxWAN.V6.String()}} {
		host := map[string]*netlab.Host{"box": g.Box.Host, "client": g.Client}[ping[0]]
		if out, err := host.Exec("ping", "-n", "-c1", "-W30", ping[1]); err != nil {
			t.Errorf("%s: %v\n%s", ping, err, out)
		}
	}
	// The tunnel: its packets still go to the endpoint outside of it, new names work,
	// and flows have not noticed.
	g.Reset()
	fresh := g.resolve("fresh.listed.example")
	g.wantVia(g.Client, netlab.ViaVPN, fresh...)
	g.wantVia(g.Box.Host, netlab.ViaVPN, fresh...)
	if len(g.ISP.Encrypted()) == 0 {
		t.Error("no packet went to the endpoint")
	}
	inside := func(p wire.Packet) bool {
		return p.Dst.Port() == g.Tunnel.Port && g.Tunnel.Endpoint.Has(p.Dst.Addr())
	}
	if looped := g.Tunnel.Inside(inside); len(looped) > 0 {
		t.Errorf("%d packets of the tunnel went into the tunnel, the first: %s", len(looped), looped[0])
	}
	f.wantProgress()
	tcp, udp := f.worst()
	t.Logf("longest gap of flows in the tunnel over TCP %v, over UDP %v", tcp, udp)
	if max(tcp, udp) > goesOnWithin*netlab.Slack() {
		t.Errorf("flows stood still for %v over TCP, %v over UDP", tcp, udp)
	}
	g.wantNoneClear(append(fresh, before...)...)
	// Other names go on via the WAN.
	g.wantVia(g.Client, netlab.ViaWAN, g.resolve("other.example")...)
}

// An office VPN serves private addresses, and says so with `private: learn`; the
// box's own networks are kept even then.
func TestPrivateAddressesOfAnOffice(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Route: "private: learn"})
	office := parse("10.200.0.5", "172.20.1.1", "192.168.200.9", "fd99::5")
	for i, a := range office {
		g.Tunnel.IP(fmt.Sprintf("addr add %s dev lo nodad", netip.PrefixFrom(a, a.BitLen())))
		g.World.Add(record(fmt.Sprintf("intranet%d.listed.example", i), a))
	}
	kept := parse("192.168.77.2", "192.168.77.1", "fd77::1", "fd77::2", "127.0.0.1", "::1", "224.0.0.251", "fe80::1")
	for i, a := range kept {
		g.World.Add(record(fmt.Sprintf("kept%d.listed.example", i), a))
		g.query(fmt.Sprintf("kept%d.listed.example", i), typeOf(a), "udp")
	}
	g.Reset()
	for i, a := range office {
		got := addressesIn(g.query(fmt.Sprintf("intranet%d.listed.example", i), typeOf(a), protos[i%len(protos)]))
		if len(got) != 1 || got[0] != a {
			t.Fatalf("intranet%d: %v, want %s", i, got, a)
		}
	}
	g.wantLearned("vpn", office...)
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.wantVia(from, netlab.ViaVPN, office...)
	}
	if out := g.ISP.Tap.Packets(wire.Went(wire.In), wire.To(office...)); len(out) > 0 {
		t.Errorf("%d packets to the office left via the WAN, the first: %s", len(out), out[0])
	}
	for _, at := range g.BoxLAN.All() {
		if _, err := g.Client.QueryAt(netip.AddrPortFrom(at, 53), newQuery("at.listed.example"), "tcp"); err != nil {
			t.Errorf("the box at %s: %v", at, err)
		}
	}
	for _, a := range g.Plan.Client.All() {
		if out, err := g.Box.Exec("ping", "-n", "-c1", "-W30", a.String()); err != nil {
			t.Errorf("the client at %s: %v\n%s", a, err, out)
		}
	}
}

func parse(addrs ...string) []netip.Addr {
	all := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		all[i] = netip.MustParseAddr(a)
	}
	return all
}

func typeOf(a netip.Addr) uint16 {
	if a.Is4() {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

func record(name string, a netip.Addr) string {
	return fmt.Sprintf("%s. 60 IN %s %s", name, dns.TypeToString[typeOf(a)], a)
}

// hint is the parameter of an HTTPS record that holds the address; an IPv4-mapped one
// cannot stand there (RFC 9460 section 7.3).
func hint(a netip.Addr) string {
	if a.Is4() {
		return "ipv4hint=" + a.String()
	}
	if a.Is4In6() {
		return "alpn=h2"
	}
	return "ipv6hint=" + a.String()
}
