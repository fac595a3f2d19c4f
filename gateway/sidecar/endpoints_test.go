package sidecar

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

func (f *far) hops(addrs ...string) (hops []netip.Addr) {
	for _, a := range addrs {
		hops = append(hops, netip.MustParseAddr(a))
	}
	return hops
}

// nameServer answers A queries with the current addresses in records.
func nameServer(t *testing.T, records *atomic.Pointer[[]string]) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			for _, a := range *records.Load() {
				m.Answer = append(m.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(a)})
			}
		}
		_ = w.WriteMsg(m) // a lost answer is asked for again
	})}
	end := make(chan error, 1)
	go func() { end <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		<-end
	})
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// An endpoint's name is queried at the WAN's resolvers until there is an answer; while no
// peer answers, all of its addresses are tried, and new ones are found.
func TestEndpointName(t *testing.T) {
	f := newFar(t)
	f.provide("vpn.example.net:51820", "")
	var records atomic.Pointer[[]string]
	records.Store(&[]string{})
	cfg := f.config()
	cfg.WANResolvers = []netip.AddrPort{nameServer(t, &records)}
	l := f.start(cfg)
	soon(t, "no address is reported", func() bool { return strings.Contains(l.log.String(), "resolve vpn.example.net: ") })
	at := func(addr string) func() bool {
		return func() bool {
			s, _ := l.Status().Route("vpn")
			return s.Tunnel != nil && slices.Equal(s.Tunnel.Endpoints, []netip.AddrPort{netip.MustParseAddrPort(addr + ":51820")})
		}
	}
	records.Store(&[]string{"192.0.2.250", "192.0.2.251"}) // no peer is there
	soon(t, "the first", at("192.0.2.250"))
	soon(t, "the second", at("192.0.2.251"))
	soon(t, "the first again", at("192.0.2.250"))
	records.Store(&[]string{"192.0.2.9"})
	soon(t, "the new one", at("192.0.2.9"))
	// WireGuard sends a handshake every 5 s.
	awaitAnswer(t, cfg.Routes[0].Mark, "10.8.0.2", "fd00:8::2")
}
