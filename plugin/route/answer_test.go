package route

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/plugin/pkg/chain"
	"github.com/nameroute/nameroute/plugin/pkg/query"
)

func message(t testing.TB, qtype uint16, answer ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("www.example.org.", qtype)
	m.Response = true
	for _, s := range answer {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	return m
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		name   string
		answer []string
		want   []string
		ttl    time.Duration
	}{
		{"a and aaaa", []string{"www.example.org. 60 IN A 30.0.0.1", "www.example.org. 90 IN AAAA 2a0f:3000::1"}, []string{"30.0.0.1", "2a0f:3000::1"}, 90 * time.Second},
		{"behind an alias, whose own TTL is not used", []string{"www.example.org. 3600 IN CNAME cdn.example.net.", "cdn.example.net. 30 IN A 30.0.0.2"}, []string{"30.0.0.2"}, 30 * time.Second},
		{"hints", []string{`www.example.org. 300 IN HTTPS 1 . alpn=h2 ipv4hint=30.0.0.3,30.0.0.4 ipv6hint=2a0f:3000::3`}, []string{"30.0.0.3", "30.0.0.4", "2a0f:3000::3"}, 300 * time.Second},
		{"svcb hints", []string{`_dns.example.org. 300 IN SVCB 1 dns.example.org. ipv4hint=30.0.0.5`}, []string{"30.0.0.5"}, 300 * time.Second},
		{"an address once", []string{"www.example.org. 60 IN A 30.0.0.1", "www.example.org. 60 IN A 30.0.0.1"}, []string{"30.0.0.1"}, time.Minute},
		{"an address in two records, for as long as the longer one", []string{"www.example.org. 60 IN A 30.0.0.1", "www.example.org. 300 IN HTTPS 1 . ipv4hint=30.0.0.1"}, []string{"30.0.0.1"}, 300 * time.Second},
		{"nat64", []string{"www.example.org. 60 IN AAAA 64:ff9b::1e00:1"}, []string{"30.0.0.1"}, time.Minute},
		{"mapped", []string{"www.example.org. 60 IN AAAA ::ffff:30.0.0.9"}, []string{"30.0.0.9"}, time.Minute},
		{"none", []string{"www.example.org. 60 IN TXT hello"}, nil, 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, ttl := addresses(message(t, dns.TypeA, tc.answer...), wellKnownNAT64, nil)
			var words []string
			for _, a := range got {
				words = append(words, a.String())
			}
			if !slices.Equal(words, tc.want) || ttl != tc.ttl {
				t.Errorf("got %v for %v, want %v for %v", words, ttl, tc.want, tc.ttl)
			}
		})
	}
}

// What other names have in an answer is neither learned nor passed on, in any section.
func TestForeignRecords(t *testing.T) {
	m := message(t, dns.TypeHTTPS, "www.example.org. 300 IN HTTPS 1 cdn.example.net. ipv4hint=30.0.0.1", "other.example. 60 IN A 30.0.0.8")
	m.Ns = append(m.Ns, test.NS("example.org. 60 IN NS ns.example.net."), test.A("ns.example.net. 60 IN A 30.0.0.9"))
	m.Extra = append(m.Extra, test.A("cdn.example.net. 60 IN A 30.0.0.7"))
	f := &fake{v6: true}
	got := serve(t, &Route{to: f, Next: answering(m)}, dns.TypeHTTPS)
	if !slices.Equal(f.learned, []netip.Addr{netip.MustParseAddr("30.0.0.1")}) {
		t.Errorf("learned %v", f.learned)
	}
	if len(got.Answer) != 1 || len(got.Ns) != 1 || len(got.Extra) > 0 {
		t.Errorf("passed on:\n%s", got)
	}
}

// cleaning is a writer like that of *listed*.
type cleaning struct {
	dns.ResponseWriter
	got *dns.Msg
}

func (c *cleaning) WriteCleaned(m *dns.Msg) error { c.got = m; return nil }

// A writer above that would clean the answer again, for the same names, gets it cleaned.
func TestAnswersAreCleanedOnce(t *testing.T) {
	req := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
	for _, v6 := range []bool{true, false} {
		above := &cleaning{ResponseWriter: &test.ResponseWriter{}}
		m := message(t, dns.TypeA, "www.example.org. 300 IN CNAME a.example.", "a.example. 60 IN A 30.0.0.1", "a.example. 60 IN AAAA 2a0f:3000::1", "b.example. 60 IN A 30.0.0.2")
		if _, err := (&Route{to: &fake{v6: v6}, Next: answering(m)}).ServeDNS(t.Context(), above, req); err != nil {
			t.Fatal(err)
		}
		if above.got == nil {
			t.Fatal("nothing was written as cleaned")
		}
		if again := chain.Clean(above.got, "www.example.org."); again != above.got {
			t.Errorf("it was not clean:\n%s", above.got)
		}
	}
}

// rewrite makes another name of the client's, and has the answer for that.
func TestRewrittenName(t *testing.T) {
	f := &fake{v6: true}
	r := &Route{to: f, Next: plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		asked := r.Question[0]
		r.Question[0].Name = "real.example.net."
		m := new(dns.Msg).SetReply(r)
		m.Question[0] = asked
		m.Answer = []dns.RR{test.CNAME("real.example.net. 60 IN CNAME cdn.example.net."), test.A("cdn.example.net. 60 IN A 30.0.0.7"), test.A("other.example. 60 IN A 30.0.0.8")}
		return dns.RcodeSuccess, w.WriteMsg(m)
	})}
	got := serve(t, r, dns.TypeA)
	if len(got.Answer) != 2 || !slices.Equal(f.learned, []netip.Addr{netip.MustParseAddr("30.0.0.7")}) || f.name != "www.example.org." {
		t.Errorf("learned %v for %s, passed on:\n%s", f.learned, f.name, got)
	}
}

// RFC 6052 section 2.4 has 192.0.2.33 in prefixes of every length.
func TestEmbedded(t *testing.T) {
	for addr, bits := range map[string]int{
		"2001:db8:c000:221::": 32, "2001:db8:1c0:2:21::": 40, "2001:db8:122:c000:2:2100::": 48,
		"2001:db8:122:3c0:0:221::": 56, "2001:db8:122:344:c0:2:2100::": 64, "2001:db8:122:344::192.0.2.33": 96,
	} {
		if got := embedded(netip.MustParseAddr(addr), bits); got != netip.MustParseAddr("192.0.2.33") {
			t.Errorf("%s/%d: got %s", addr, bits, got)
		}
	}
}

func TestWithoutIPv6(t *testing.T) {
	t.Run("aaaa becomes no data without the alias", func(t *testing.T) {
		m := message(t, dns.TypeAAAA, "www.example.org. 60 IN CNAME cdn.example.net.", "cdn.example.net. 60 IN AAAA 2a0f:3000::1")
		got := withoutIPv6(m, wellKnownNAT64)
		if len(got.Answer) != 0 || len(got.Ns) != 1 || got.Ns[0].Header().Rrtype != dns.TypeSOA || got.Rcode != dns.RcodeSuccess {
			t.Errorf("got %v", got)
		}
		if len(m.Answer) != 2 {
			t.Error("the cache's message was changed")
		}
	})
	t.Run("hints", func(t *testing.T) {
		m := message(t, dns.TypeHTTPS, "www.example.org. 60 IN HTTPS 1 . alpn=h2 ipv4hint=30.0.0.1 ipv6hint=2a0f:3000::1")
		got := withoutIPv6(m, wellKnownNAT64).Answer[0].String()
		if strings.Contains(got, "ipv6hint") || !strings.Contains(got, "ipv4hint") {
			t.Errorf("got %s", got)
		}
		if !strings.Contains(m.Answer[0].String(), "ipv6hint") {
			t.Error("the cache's message was changed")
		}
	})
	t.Run("a mandatory hint", func(t *testing.T) {
		m := message(t, dns.TypeHTTPS, "www.example.org. 60 IN HTTPS 1 . mandatory=ipv6hint alpn=h2 ipv6hint=2a0f:3000::1")
		got := withoutIPv6(m, wellKnownNAT64).Answer[0].String()
		if strings.Contains(got, "ipv6hint") || strings.Contains(got, "mandatory") {
			t.Errorf("a record that demands what it lacks is malformed (RFC 9460 section 8): %s", got)
		}
	})
	t.Run("what no route takes stays", func(t *testing.T) {
		for _, a := range []string{"64:ff9b::1e00:1", "fd77::1", "fe80::1"} {
			m := message(t, dns.TypeAAAA, "www.example.org. 60 IN AAAA "+a)
			if got := withoutIPv6(m, wellKnownNAT64); got != m {
				t.Errorf("%s was removed", a)
			}
		}
	})
}

// fake is a route of the dataplane.
type fake struct {
	v6        bool
	fresh     int // addresses that are new to the sets
	err       error
	learned   []netip.Addr
	name      string
	need      time.Duration
	want      time.Duration
	beforeAny func() bool // reports whether the client has an answer already
	late      bool
}

func (f *fake) State() *dataplane.State {
	life := gateway.Lifetime{Floor: time.Hour, Grace: 10 * time.Minute, Ceiling: 24 * time.Hour}
	return &dataplane.State{V4: true, V6: f.v6, Lifetime: life}
}

func (f *fake) Admitted(dataplane.Answer) bool { return false }

func (f *fake) Admit(_ context.Context, a dataplane.Answer, limit func(int, bool) error) (int, error) {
	if f.fresh > 0 {
		if err := limit(f.fresh, false); err != nil {
			return len(a.Addrs), err
		}
	}
	f.late = f.late || f.beforeAny != nil && f.beforeAny()
	f.learned = append(f.learned, a.Addrs...)
	f.name, f.need, f.want = a.Name, a.Need, a.Want
	return len(a.Addrs), f.err
}

func answering(m *dns.Msg) plugin.Handler {
	return plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		m.Id, m.Response, m.Question = r.Id, true, slices.Clone(r.Question)
		return dns.RcodeSuccess, w.WriteMsg(m)
	})
}

func serve(t *testing.T, r *Route, qtype uint16) *dns.Msg {
	t.Helper()
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	if f, ok := r.to.(*fake); ok {
		f.beforeAny = func() bool { return rec.Msg != nil }
	}
	q := new(dns.Msg)
	q.SetQuestion("www.example.org.", qtype)
	q.SetEdns0(1232, false)
	if _, err := r.ServeDNS(context.Background(), rec, q); err != nil {
		t.Fatal(err)
	}
	return rec.Msg
}

func TestLearnsBeforeItAnswers(t *testing.T) {
	f := &fake{v6: true}
	r := &Route{to: f, Next: answering(message(t, dns.TypeA, "www.example.org. 60 IN A 30.0.0.1"))}
	m := serve(t, r, dns.TypeA)
	if len(m.Answer) != 1 || len(f.learned) != 1 || f.late {
		t.Errorf("answer %v, learned %v, after the answer %v", m.Answer, f.learned, f.late)
	}
	if f.need != 6*time.Minute || f.want != time.Hour {
		t.Errorf("need %v want %v", f.need, f.want)
	}
}

func TestRefusedByTheKernel(t *testing.T) {
	f := &fake{v6: true, err: errors.New("set vpn4 is full")}
	r := &Route{to: f, Next: answering(message(t, dns.TypeA, "www.example.org. 60 IN A 30.0.0.1"))}
	m := serve(t, r, dns.TypeA)
	if m.Rcode != dns.RcodeServerFailure || len(m.Answer) != 0 {
		t.Errorf("want SERVFAIL without the address, got %v", m)
	}
	r.answerOnError = true
	if m := serve(t, r, dns.TypeA); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
		t.Errorf("on_error answer: got %v", m)
	}
}

func TestNoIPv6(t *testing.T) {
	f := &fake{}
	var marked bool
	r := &Route{to: f, Next: plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, q *dns.Msg) (int, error) {
		marked = query.WithoutIPv6(ctx)
		m := message(t, dns.TypeAAAA, "www.example.org. 60 IN AAAA 2a0f:3000::1")
		m.SetReply(q)
		return 0, w.WriteMsg(m)
	})}
	m := serve(t, r, dns.TypeAAAA)
	if !marked {
		t.Error("the handlers below are not told")
	}
	if len(m.Answer) != 0 || len(f.learned) != 0 {
		t.Errorf("got %v, learned %v", m.Answer, f.learned)
	}
}

func TestWireAnswer(t *testing.T) {
	f := &fake{v6: true}
	m := message(t, dns.TypeA, "www.example.org. 60 IN A 30.0.0.1")
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r := &Route{to: f}
	w := &writer{ResponseWriter: &test.ResponseWriter{}, reason: query.Reason{Context: context.Background()}, route: r, state: f.State(), name: "www.example.org.", req: m}
	if _, err := w.Write(b); err != nil || len(f.learned) != 1 {
		t.Errorf("learned %v, %v", f.learned, err)
	}
	if _, err := w.Write(b[:15]); err == nil {
		t.Error("an answer that cannot be parsed was passed on")
	}
}

func FuzzAdmit(f *testing.F) {
	seed := message(f, dns.TypeHTTPS, "www.example.org. 60 IN HTTPS 1 . mandatory=ipv6hint ipv4hint=30.0.0.1 ipv6hint=2a0f:3000::1", "www.example.org. 4000000 IN AAAA 2a0f:3000::1")
	b, err := seed.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, true)
	f.Add(b, false)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil || len(m.Question) != 1 {
			return
		}
		l := &fake{v6: v6}
		w := &writer{ResponseWriter: &test.ResponseWriter{}, reason: query.Reason{Context: context.Background()}, route: &Route{to: l, nat64: wellKnownNAT64}, state: l.State(), name: m.Question[0].Name, req: m}
		out := w.admit(m)
		addrs, _ := addresses(out, wellKnownNAT64, nil)
		for _, rr := range slices.Concat(out.Ns, out.Extra) {
			addrs = chain.AppendAddresses(addrs, rr)
		}
		for _, a := range addrs {
			if !slices.Contains(l.learned, a) {
				t.Fatalf("%s goes out without having been learned: %v", a, out)
			}
			if !v6 && a.Is6() && a.IsGlobalUnicast() && !a.IsPrivate() && !a.Is4In6() {
				t.Fatalf("%s goes out although the route has no IPv6: %v", a, out)
			}
		}
	})
}

// A route that is down is not an answer that the cache may keep, so the handlers
// below leave the writing to us; the client still hears why.
func TestFailureFromBelow(t *testing.T) {
	down := errors.New("route vpn is down")
	for _, below := range []plugin.HandlerFunc{
		func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) { return dns.RcodeServerFailure, down },
		func(ctx context.Context, _ dns.ResponseWriter, _ *dns.Msg) (int, error) {
			query.SetReason(ctx, down)
			return dns.RcodeServerFailure, nil
		},
	} {
		testFailureFromBelow(t, &Route{to: &fake{v6: true}, Next: below})
	}
}

func testFailureFromBelow(t *testing.T, r *Route) {
	t.Helper()
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	q := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
	q.SetEdns0(1232, false)
	rcode, err := r.ServeDNS(context.Background(), rec, q)
	if rcode != dns.RcodeSuccess || err == nil || rec.Msg == nil || rec.Msg.Rcode != dns.RcodeServerFailure {
		t.Fatalf("rcode %d, %v, wrote %v", rcode, err, rec.Msg)
	}
	ede, ok := rec.Msg.IsEdns0().Option[0].(*dns.EDNS0_EDE)
	if !ok || ede.ExtraText != "route vpn is down" {
		t.Errorf("got %v", rec.Msg)
	}
	q.Extra = nil
	if rcode, err := r.ServeDNS(context.Background(), rec, q); rcode != dns.RcodeServerFailure || err == nil {
		t.Errorf("without EDNS CoreDNS answers by itself: rcode %d, %v", rcode, err)
	}
}

// What a cached answer costs, whose addresses are all routed already. An answer that
// upstream has bounded has 256 addresses at most.
func BenchmarkAdmit(b *testing.B) {
	for _, n := range []int{1, 10, 100, 256, 16000} {
		hint := &dns.SVCBIPv4Hint{}
		for i := range n {
			hint.Hint = append(hint.Hint, net.IPv4(30, byte(i>>16), byte(i>>8), byte(i)).To4())
		}
		m := message(b, dns.TypeHTTPS, "www.example.org. 300 IN HTTPS 1 .")
		m.Answer[0].(*dns.HTTPS).Value = append(m.Answer[0].(*dns.HTTPS).Value, hint)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			f := &fake{v6: true}
			w := &writer{ResponseWriter: &test.ResponseWriter{}, reason: query.Reason{Context: context.Background()}, route: &Route{to: f, nat64: wellKnownNAT64}, state: f.State(), name: "www.example.org.", req: m}
			b.ReportAllocs()
			for b.Loop() {
				w.admit(m)
				f.learned = f.learned[:0]
			}
		})
	}
}
