package test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

func rrOf(t testing.TB, format string, args ...any) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(fmt.Sprintf(format, args...))
	if err != nil || rr == nil {
		t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
	return rr
}

// Guarantee 1: set before answer.
// A resolver that lies adds what nobody asked for: it is neither learned nor passed on,
// from the cache neither, and what belongs to the query is routed as ever.
func TestForeignRecords(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	victim := g.resolve("victim.example")
	forge := func(name string, extra ...dns.RR) {
		g.World.Behave(name, netlab.Behavior{Forge: func(m *dns.Msg) {
			for _, a := range victim {
				kind := map[bool]string{true: "A", false: "AAAA"}[a.Is4()]
				owners := []string{"victim.example.", "listed.example.", "x." + dns.Fqdn(name), "www.listed.example."}
				for _, owner := range owners {
					rr := rrOf(t, "%s 300 IN %s %s", owner, kind, a)
					m.Answer, m.Ns, m.Extra = append([]dns.RR{rr}, m.Answer...), append(m.Ns, rr), append(m.Extra, rr)
				}
			}
			m.Answer = append(m.Answer, rrOf(t, "victim.example. 300 IN CNAME cdn.example."), rrOf(t, "other.example. 300 IN HTTPS 1 svc.example. ipv4hint=%s", victim[0]))
			m.Answer = append(m.Answer, extra...)
			m.Ns = append(m.Ns, rrOf(t, "%s 300 IN NS ns.example.", dns.Fqdn(name)))
			m.Extra = append(m.Extra, rrOf(t, "ns.example. 300 IN A %s", victim[0]))
		}})
	}
	reversed := g.World.Addresses("end.pop.example")
	forge("evil.listed.example")
	forge("reversed.listed.example",
		rrOf(t, "end.pop.example. 60 IN A %s", reversed.V4), rrOf(t, "mid.cdn.example. 60 IN CNAME end.pop.example."),
		rrOf(t, "reversed.listed.example. 60 IN CNAME mid.cdn.example."))
	g.Reset()
	for i, proto := range []string{"udp", "tcp", "udp6", "tcp6"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			name := fmt.Sprintf("n%d.evil.listed.example", i)
			for range 2 { // fresh and cached
				m := g.query(name, qtype, proto)
				if own := g.World.Addresses(name).All(); len(m.Answer) != 1 || !slices.Contains(own, addressesIn(m)[0]) || len(m.Extra) > 1 || strings.Contains(m.String(), "victim") {
					t.Errorf("%s over %s:\n%s", name, proto, m)
				}
			}
		}
		g.wantVia(g.Client, netlab.ViaVPN, g.World.Addresses(fmt.Sprintf("n%d.evil.listed.example", i)).All()...)
	}
	m := g.query("reversed.listed.example", dns.TypeA, "tcp")
	if got := addressesIn(m); !slices.Contains(got, reversed.V4) || slices.Contains(got, victim[0]) {
		t.Errorf("a chain in the wrong order:\n%s", m)
	}
	g.wantVia(g.Client, netlab.ViaVPN, reversed.V4)
	g.wantNotLearned("vpn", victim...)
	g.wantVia(g.Client, netlab.ViaWAN, victim...)
	for _, name := range []string{"cdn.example", "svc.example", "ns.example"} {
		g.resolve(name)
		g.wantAsked(netlab.ViaWAN, g.World.Queries(name))
	}
	for _, name := range []string{"mid.cdn.example", "end.pop.example"} {
		g.World.Reset()
		g.resolve(name)
		g.wantAsked(netlab.ViaVPN, g.World.Queries(name))
	}
}

// Guarantee 1: set before answer.
// An answer has more addresses than are taken: the client gets those that are routed and
// not one more, from the cache neither, where the answer is small.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	const most = 256
	big := func(n int) func(*dns.Msg) {
		return func(m *dns.Msg) {
			h := dns.RR_Header{Name: m.Question[0].Name, Rrtype: m.Question[0].Qtype, Class: dns.ClassINET, Ttl: 300}
			m.Compress = true
			hint := &dns.SVCBIPv4Hint{}
			for i := range n {
				ip := net.IPv4(31, byte(n>>8), byte(i>>8), byte(i)).To4()
				hint.Hint = append(hint.Hint, ip)
				if m.Question[0].Qtype == dns.TypeA {
					m.Answer = append(m.Answer, &dns.A{Hdr: h, A: ip})
				}
			}
			if m.Question[0].Qtype == dns.TypeA {
				m.Answer = m.Answer[1:] // the world's own
				return
			}
			m.Answer = []dns.RR{&dns.HTTPS{SVCB: dns.SVCB{Hdr: h, Priority: 1, Target: ".", Value: []dns.SVCBKeyValue{&dns.SVCBAlpn{Alpn: []string{"h2"}}, hint}}}}
		}
	}
	for n, want := range map[int]int{most - 1: most - 1, most: most, most + 1: most, 3000: most, 16000: most} {
		name := fmt.Sprintf("n%d.big.listed.example", n)
		g.World.Behave(name, netlab.Behavior{Forge: big(n)})
		types := []uint16{dns.TypeHTTPS, dns.TypeA}
		if n > 4000 {
			types = types[:1] // 16,000 A records are no message
		}
		for _, qtype := range types {
			for range 2 {
				m := g.query(name, qtype, "tcp")
				got := append(hints(m), addressesIn(m)...)
				if len(got) != want {
					t.Errorf("%s %s: %d addresses, want %d", name, dns.TypeToString[qtype], len(got), want)
				}
				g.wantLearned("vpn", got...)
				if n > want {
					g.wantNotLearned("vpn", netip.AddrFrom4([4]byte{31, byte(n >> 8), byte((n - 1) >> 8), byte(n - 1)}))
				}
			}
		}
	}
	g.p.WaitOutput("removed addresses or targets beyond what one answer may bring", 5*time.Second)
}
