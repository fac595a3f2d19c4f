package datagram

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/test"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
)

// onWire is a client's end: what CoreDNS's own writer makes of an answer.
type onWire struct {
	dns.ResponseWriter
	from net.Addr
	got  *dns.Msg
	size int
}

func (w *onWire) RemoteAddr() net.Addr { return w.from }
func (w *onWire) WriteMsg(m *dns.Msg) error {
	b, err := m.Pack()
	w.got, w.size = m, len(b)
	return err
}

func records(t *testing.T, n int, format string) (rrs []dns.RR) {
	for i := range n {
		rr, err := dns.NewRR(fmt.Sprintf(format, i))
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

func TestAnswersFit(t *testing.T) {
	const (
		a     = "www.example.org. %d A 30.0.0.1"
		ns    = "example.org. NS ns%d.a-rather-long-name.example.net."
		glue  = "ns%d.a-rather-long-name.example.net. A 30.0.1.1"
		nsec  = "a%d.example.org. NSEC b.example.org. A RRSIG"
		sig   = "a%d.example.org. RRSIG NSEC 8 2 60 20300101000000 20200101000000 1 example.org. AA=="
		soa   = "example.org. SOA ns%d. mbox. 1 1 1 1 1"
		udp   = "dns://:53"
		plain = 0 // no EDNS
	)
	all := func(sets ...[]dns.RR) (rrs []dns.RR) {
		for _, s := range sets {
			rrs = append(rrs, s...)
		}
		return rrs
	}
	for _, c := range []struct {
		name       string
		edns       int
		do         bool
		bufsize    bool
		tcp        bool
		server     string
		answer     []dns.RR
		ns, extra  []dns.RR
		tc         bool
		nAnswer    int // -1: some of them
		nNs, nRest int
	}{
		{name: "small", answer: records(t, 2, a), ns: records(t, 2, ns), extra: records(t, 2, glue), nAnswer: 2, nNs: 2, nRest: 2},
		{name: "without EDNS, no room for the additional section", answer: records(t, 14, a), ns: records(t, 5, ns), extra: records(t, 9, glue), nAnswer: 14, nNs: 5},
		{name: "nor for the authority section", answer: records(t, 20, a), ns: records(t, 9, ns), extra: records(t, 9, glue), nAnswer: 20},
		{name: "a proof is not needed", answer: records(t, 26, a), ns: all(records(t, 4, nsec), records(t, 4, sig)), nAnswer: 26},
		{name: "a proof is needed", edns: 512, do: true, answer: records(t, 15, a), ns: all(records(t, 1, nsec), records(t, 1, sig), records(t, 9, ns)), extra: records(t, 9, glue), nAnswer: 15, nNs: 2},
		{name: "the answer does not fit", answer: records(t, 60, a), ns: records(t, 4, ns), tc: true, nAnswer: -1},
		{name: "a denial needs its SOA", ns: all(records(t, 1, soa), records(t, 30, ns)), tc: true, nNs: -1},
		{name: "1232 is what a client takes", edns: 1232, answer: records(t, 70, a), extra: records(t, 9, glue), nAnswer: 70},
		{name: "1232 at most", edns: 4096, answer: records(t, 100, a), tc: true, nAnswer: -1},
		{name: "1232 at most, of a large one", edns: 65535, answer: records(t, 2000, a), tc: true, nAnswer: -1},
		{name: "bufsize says so", edns: 4096, bufsize: true, answer: records(t, 200, a), nAnswer: 200},
		{name: "over TCP", edns: 4096, tcp: true, answer: records(t, 2000, a), ns: records(t, 9, ns), extra: records(t, 9, glue), nAnswer: 2000, nNs: 9, nRest: 9},
		{name: "over QUIC", edns: 4096, server: "quic://:853", answer: records(t, 200, a), nAnswer: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
			if c.edns > plain {
				req.SetEdns0(uint16(c.edns), c.do)
			}
			server := udp
			if c.server != "" {
				server = c.server
			}
			out := &onWire{ResponseWriter: &test.ResponseWriter{}, from: &net.UDPAddr{IP: net.IPv4(192, 168, 1, 10), Port: 4711}}
			if c.tcp {
				out.from = &net.TCPAddr{IP: net.IPv4(192, 168, 1, 10), Port: 4711}
			}
			m := new(dns.Msg)
			h := &Handler{Bufsize: c.bufsize, Next: plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
				m.SetReply(r)
				m.Answer, m.Ns, m.Extra = c.answer, c.ns, c.extra
				return 0, w.WriteMsg(m)
			})}
			ctx := context.WithValue(context.Background(), dnsserver.Key{}, &dnsserver.Server{Addr: server})
			if _, err := h.ServeDNS(ctx, request.NewScrubWriter(req, out), req); err != nil {
				t.Fatal(err)
			}
			rest := len(out.got.Extra)
			if c.edns > 0 {
				rest--
			}
			wrong := func(got, want int) bool { return got != want && (want >= 0 || got == 0) }
			if out.got.Truncated != c.tc || wrong(len(out.got.Answer), c.nAnswer) || wrong(len(out.got.Ns), c.nNs) || rest != c.nRest {
				t.Errorf("TC %v, %d answers, %d in the authority and %d in the additional section, %d bytes", out.got.Truncated, len(out.got.Answer), len(out.got.Ns), rest, out.size)
			}
			limit := max(512, min(c.edns, MaxSize))
			if c.bufsize || c.server != "" {
				limit = c.edns
			}
			if !c.tcp && out.size > limit {
				t.Errorf("%d bytes, want %d at most", out.size, limit)
			}
			if len(m.Answer) != len(c.answer) && !c.tc {
				t.Error("the message of the handler has changed")
			}
		})
	}
}
