package test

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 8: fails safe.
// A host of the LAN that sends from any number of addresses, of the LAN and others, fills no
// set: it counts as one. Other hosts' new names are answered, also while the kernel looks for
// hosts to send the flood's answers to, and what is there stays.
func TestSpoofedSourcesFillNoSet(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	// 330 answers of 200 addresses each would fill a set of 65,536. All sources that the LAN's
	// link leads to are one host, and all others another one.
	const names, perName, most = 330, 200, 2 * (4*3000 + 5*600)
	g.World.Behave("flood.listed.example", netlab.Behavior{Forge: func(m *dns.Msg) {
		name := m.Question[0].Name
		n, _ := strconv.Atoi(strings.TrimPrefix(strings.Split(name, ".")[0], "n"))
		m.Answer = nil
		for i := range perName {
			k := n*perName + i
			if m.Question[0].Qtype == dns.TypeA {
				m.Answer = append(m.Answer, rrOf(t, "%s 60 IN A 30.%d.%d.%d", name, 40+k>>16, k>>8&255, k&255))
			} else if m.Question[0].Qtype == dns.TypeAAAA {
				m.Answer = append(m.Answer, rrOf(t, "%s 60 IN AAAA 2a0f:bb::%x:%x", name, k>>16, k&0xffff))
			}
		}
	}})
	g.start()
	kept := g.resolve("kept.listed.example")
	flows := g.flows(g.Client, netlab.ViaVPN, kept...)
	g.Reset()
	for n := range names {
		// Of the LAN, where none answers for most of them, and of elsewhere.
		sources := []string{
			fmt.Sprintf("192.168.77.%d", 10+n%240), fmt.Sprintf("10.%d.%d.1", n%250, n/250),
			fmt.Sprintf("fd77::%x", 0x1000+n), fmt.Sprintf("fd%02x:%x::1", 0x80+n%64, n),
		}
		for i, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
			m := new(dns.Msg)
			m.SetQuestion(fmt.Sprintf("n%d.flood.listed.example.", n), typ)
			m.SetEdns0(1232, false)
			g.spoof(netip.MustParseAddr(sources[n%2+2*i]), m)
		}
		time.Sleep(3 * time.Millisecond)
	}
	refused := func() int {
		return strings.Count(g.p.Output(), "the client adds more new addresses than new_addresses allows")
	}
	netlab.Eventually(t, 60*time.Second, func() error { return netlab.Check(refused() > 0, "no answer was refused") })
	last := len(g.elements())
	netlab.Eventually(t, 60*time.Second, func() error {
		before := last
		time.Sleep(500 * time.Millisecond)
		last = len(g.elements())
		return netlab.Check(before == last, "more are learned")
	})
	t.Logf("%d addresses are in the sets", last)
	if last > most || last < 3000 {
		t.Errorf("%d elements, want 3,000 to %d: one host fills the sets, or there was no flood", last, most)
	}
	// The client is another host: it has another link-layer address, or the kernel knows it.
	fresh := g.resolve("fresh.listed.example")
	g.wantVia(g.Client, netlab.ViaVPN, append(fresh, kept...)...)
	g.wantVia(g.Box.Host, netlab.ViaVPN, append(fresh, kept...)...)
	flows.wantProgress()
	g.wantNoneClear(append(fresh, kept...)...)
}

// spoof sends a query from an address that the client does not have.
func (g *gate) spoof(from netip.Addr, m *dns.Msg) {
	g.t.Helper()
	level, option, to := unix.SOL_IP, unix.IP_TRANSPARENT, g.Plan.BoxLAN.V4
	if from.Is6() {
		level, option, to = unix.SOL_IPV6, unix.IPV6_TRANSPARENT, g.Plan.BoxLAN.V6
	}
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Control: func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); failed != nil {
			return failed
		}
		return err
	}}
	conn, err := g.Client.DialWith(d, "udp", netip.AddrPortFrom(to, 53).String())
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	packed, err := m.Pack()
	if err == nil {
		_, err = conn.Write(packed)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}
