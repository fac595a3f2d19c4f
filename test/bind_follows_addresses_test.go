package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// answers reports whether a resolver of the box answers a client's query, over UDP and TCP.
func (g *gate) answers(from *netlab.Host, at netip.Addr) error {
	for _, proto := range []string{"udp", "tcp"} {
		m, err := from.QueryAt(netip.AddrPortFrom(at, 53), new(dns.Msg).SetQuestion("www.other.example.", dns.TypeA), proto)
		if err != nil || m.Rcode != dns.RcodeSuccess {
			return fmt.Errorf("%s over %s: %v, %v", at, proto, m, err)
		}
	}
	return nil
}

// Addresses that `bind` names come and go: one that does not exist yet does not keep the
// others from being served, and answers as soon as it exists; an interface is followed, from
// before it exists.
func TestBindFollowsAddresses(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	late4, late6 := netip.MustParseAddr("192.168.77.5"), netip.MustParseAddr("fd77::5")
	more4, more6 := netip.MustParseAddr("192.168.78.5"), netip.MustParseAddr("fd78::5")
	bind := fmt.Sprintf("bind %s %s %s %s lo lan9\n    cache", g.BoxLAN.V4, g.BoxLAN.V6, late4, late6)
	text := strings.ReplaceAll(g.read("Corefile"), "cache", bind)
	g.Box.Write("Corefile", text)
	g.start()
	g.p.WaitOutput("no address yet on lan9", 5*time.Second)
	netlab.Eventually(t, 15*time.Second, func() error { return g.answers(g.Box.Host, netip.MustParseAddr("127.0.0.1")) })

	g.Box.IP("addr add 192.168.77.5/32 dev br-lan", "addr add fd77::5/128 dev br-lan nodad")
	netlab.Eventually(t, 15*time.Second, func() error { return g.answers(g.Client, late4) })
	netlab.Eventually(t, 15*time.Second, func() error { return g.answers(g.Client, late6) })

	g.Box.IP("link add lan9 type bridge", "link set lan9 up", "addr add 192.168.78.5/32 dev lan9", "addr add fd78::5/128 dev lan9 nodad")
	netlab.Eventually(t, 15*time.Second, func() error { return g.answers(g.Client, more4) })
	netlab.Eventually(t, 15*time.Second, func() error { return g.answers(g.Client, more6) })
	asking := g.ask("other.example")
	g.Box.IP("addr del 192.168.78.5/32 dev lan9", "addr add 192.168.78.6/32 dev lan9")
	netlab.Eventually(t, 15*time.Second, func() error { return g.answers(g.Client, netip.MustParseAddr("192.168.78.6")) })
	g.Box.IP("link del lan9")
	g.p.WaitOutput("no address yet on lan9", 15*time.Second)
	if err := g.answers(g.Client, g.BoxLAN.V4); err != nil {
		t.Error(err)
	}
	asking.wantAllAnswered(g)
	g.wantVia(g.Client, netlab.ViaVPN, g.resolve("www.listed.example")...)
}
