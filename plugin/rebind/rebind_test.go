package rebind

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

func parsed(t *testing.T, text string) *Rebind {
	t.Helper()
	b, err := parse(caddy.NewTestController("dns", text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return b
}

func TestAddresses(t *testing.T) {
	b := parsed(t, "rebind {\n block 203.0.113.0/24 2001:db8:1::5/48\n}")
	for _, s := range strings.Fields(`0.0.0.0 0.1.2.3 10.0.0.1 127.0.0.1 127.9.9.9 169.254.1.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1
		255.255.255.255 203.0.113.9 :: ::1 fe80::1 fec0::1 fc00::1 fd77::1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:0:10.0.0.1 ::10.0.0.1 64:ff9b::10.0.0.1
		64:ff9b::7f00:1 64:ff9b:1::808:808 2002:c0a8:101::1 2002:7f00:1:: 2001:0:1:2:3:4:3f57:fefe 2001:db8:1:2::3 64:ff9b::203.0.113.9`) {
		if !b.isPrivate(netip.MustParseAddr(s)) {
			t.Errorf("%s passes", s)
		}
	}
	// 192.0.0.170 is what ipv4only.arpa has, by which hosts find a NAT64 (RFC 7050).
	for _, s := range strings.Fields(`8.8.8.8 1.1.1.1 172.15.0.1 172.32.0.1 192.167.1.1 100.63.0.1 100.128.0.1 192.0.0.170 192.0.0.171 2001:4860::8888
		2a00::1 64:ff9b::8.8.8.8 64:ff9b::192.0.0.170 2002:808:808::1 ::ffff:8.8.8.8 2001:db8:2::1`) {
		if b.isPrivate(netip.MustParseAddr(s)) {
			t.Errorf("%s is removed", s)
		}
	}
	ok := parsed(t, "rebind {\n localhost_ok\n}")
	for s, want := range map[string]bool{"127.0.0.2": false, "::1": false, "::ffff:127.0.0.2": false, "10.0.0.1": true, "::": true, "0.0.0.0": true} {
		if got := ok.isPrivate(netip.MustParseAddr(s)); got != want {
			t.Errorf("localhost_ok: %s: %v, want %v", s, got, want)
		}
	}
}

// below answers with records, in wire format or not.
type below struct {
	t    *testing.T
	m    *dns.Msg
	wire bool
}

func (b below) Name() string { return "below" }

func (b below) ServeDNS(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	b.m.Id = r.Id
	if b.wire {
		data, err := b.m.Pack()
		if err != nil {
			b.t.Fatal(err)
		}
		_, err = w.Write(data)
		return dns.RcodeSuccess, err
	}
	return dns.RcodeSuccess, w.WriteMsg(b.m)
}

// wires unpacks what a handler wrote.
type wires struct{ *dnstest.Recorder }

func (w wires) Write(b []byte) (int, error) {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return 0, err
	}
	return len(b), w.WriteMsg(m)
}

func records(t *testing.T, texts ...string) (rrs []dns.RR) {
	t.Helper()
	for _, s := range texts {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// through sends a message through the plugin and returns what came out, and in words.
func through(t *testing.T, b *Rebind, req, m *dns.Msg, wire bool) (*dns.Msg, string) {
	t.Helper()
	b.Next = below{t, m, wire}
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	if _, err := b.ServeDNS(context.Background(), wires{rec}, req); err != nil {
		t.Fatal(err)
	}
	words := []string{dns.RcodeToString[rec.Msg.Rcode]}
	for _, section := range [][]dns.RR{rec.Msg.Answer, rec.Msg.Ns, rec.Msg.Extra} {
		for _, rr := range section {
			h := rr.Header()
			switch rr := rr.(type) {
			case *dns.OPT:
				for _, o := range rr.Option {
					words = append(words, "EDE "+o.String())
				}
			case *dns.SOA:
				words = append(words, "SOA")
			default:
				words = append(words, dns.TypeToString[h.Rrtype]+" "+strings.TrimPrefix(rr.String(), h.String()))
			}
		}
	}
	return rec.Msg, strings.Join(words, " | ")
}

const (
	ede = " | EDE 15 (Blocked): (private address in an upstream answer)"
	sig = "x.example. 60 IN RRSIG A 13 2 60 20300101000000 20200101000000 1 example. AAAA"
)

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name    string
		qtype   uint16
		answer  []string
		extra   []string
		want    string
		allowed string
	}{
		{"clean", dns.TypeA, []string{"x.example. 60 IN A 8.8.8.8", sig}, nil, "NOERROR | A 8.8.8.8 | RRSIG A 13 2 60 20300101000000 20200101000000 1 example. AAAA", ""},
		{"only bad", dns.TypeA, []string{"x.example. 60 IN A 10.0.0.1", sig}, nil, "NOERROR | SOA" + ede, ""},
		{"mixed", dns.TypeA, []string{"x.example. 60 IN A 10.0.0.1", "x.example. 60 IN A 8.8.8.8", sig}, nil, "NOERROR | A 8.8.8.8" + ede, ""},
		{"chain", dns.TypeA, []string{"x.example. 60 IN CNAME y.example.", "y.example. 60 IN A 192.168.1.1"}, nil, "NOERROR | SOA" + ede, ""},
		{"AAAA", dns.TypeAAAA, []string{"x.example. 60 IN AAAA fd77::1", "x.example. 60 IN AAAA ::ffff:10.0.0.1"}, nil, "NOERROR | SOA" + ede, ""},
		{"hints", dns.TypeHTTPS, []string{`x.example. 60 IN HTTPS 1 . mandatory=ipv4hint alpn=h2 ipv4hint=8.8.8.8,10.0.0.1 ipv6hint=2a00::1`}, nil,
			`NOERROR | HTTPS 1 . alpn="h2" ipv6hint="2a00::1"` + ede, ""},
		{"mandatory stays", dns.TypeSVCB, []string{`x.example. 60 IN SVCB 1 y.example. mandatory=alpn,ipv6hint alpn=h2 ipv6hint=fd00::1`}, nil,
			`NOERROR | SVCB 1 y.example. mandatory="alpn" alpn="h2"` + ede, ""},
		{"additional", dns.TypeMX, []string{"x.example. 60 IN MX 1 m.example."}, []string{"m.example. 60 IN A 10.0.0.1", "m.example. 60 IN A 8.8.8.8"},
			"NOERROR | MX 1 m.example. | A 8.8.8.8" + ede, ""},
		{"ANY", dns.TypeANY, []string{"x.example. 60 IN A 10.0.0.1", "x.example. 60 IN TXT a"}, nil, `NOERROR | TXT "a"` + ede, ""},
		{"ANY, nothing left", dns.TypeANY, []string{"x.example. 60 IN A 10.0.0.1", sig}, nil, "NOERROR | SOA" + ede, ""},
		{"allowed", dns.TypeA, []string{"x.example. 60 IN A 10.0.0.1"}, nil, "NOERROR | A 10.0.0.1", "X.Example"},
		{"allowed above", dns.TypeA, []string{"x.example. 60 IN A 10.0.0.1"}, nil, "NOERROR | A 10.0.0.1", "example"},
		{"not allowed", dns.TypeA, []string{"x.example. 60 IN A 10.0.0.1"}, nil, "NOERROR | SOA" + ede, "ample y.x.example"},
	} {
		for _, wire := range []bool{false, true} {
			b := &Rebind{}
			if c.allowed != "" {
				b = parsed(t, "rebind {\n allow "+c.allowed+"\n}")
			}
			req := new(dns.Msg).SetQuestion("X.example.", c.qtype)
			req.SetEdns0(1232, true)
			m := new(dns.Msg).SetReply(req)
			m.AuthenticatedData = true
			m.Answer, m.Extra = records(t, c.answer...), records(t, c.extra...)
			before := m.String()
			got, words := through(t, b, req, m, wire)
			if words != c.want {
				t.Errorf("%s: %s\nwant %s", c.name, words, c.want)
			}
			if changed := strings.Contains(c.want, "EDE"); got.AuthenticatedData == changed {
				t.Errorf("%s: AD is %v", c.name, got.AuthenticatedData)
			}
			m.Id = 0
			if after := m.String(); strings.TrimSpace(strings.SplitN(after, "\n", 2)[1]) != strings.TrimSpace(strings.SplitN(before, "\n", 2)[1]) {
				t.Errorf("%s: the plugin below's own message was changed:\n%s", c.name, after)
			}
			if _, err := got.Pack(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

// A client without EDNS gets no OPT record.
func TestWithoutEDNS(t *testing.T) {
	req := new(dns.Msg).SetQuestion("x.example.", dns.TypeA)
	m := new(dns.Msg).SetReply(req)
	m.Answer = records(t, "x.example. 60 IN A 10.0.0.1")
	if _, words := through(t, &Rebind{}, req, m, false); words != "NOERROR | SOA" {
		t.Error(words)
	}
}

// A clean answer costs one allocation, the writer's.
func TestCleanCostsAWriter(t *testing.T) {
	req := new(dns.Msg).SetQuestion("x.example.", dns.TypeA)
	m := new(dns.Msg).SetReply(req)
	m.Answer = records(t, "x.example. 60 IN CNAME y.example.", "y.example. 60 IN A 8.8.8.8", "y.example. 60 IN AAAA 2a00::1",
		"y.example. 60 IN HTTPS 1 . ipv4hint=8.8.8.8 ipv6hint=2a00::1")
	b := parsed(t, "rebind {\n allow home.example\n}")
	b.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) {
		return 0, w.WriteMsg(m)
	})
	w := &test.ResponseWriter{}
	ctx := context.Background()
	// CoreDNS allocates one for each plugin that passes a query on.
	bare := testing.AllocsPerRun(200, func() {
		if _, err := plugin.NextOrFailure(name, b.Next, ctx, w, req); err != nil {
			t.Fatal(err)
		}
	})
	if n := testing.AllocsPerRun(200, func() {
		if _, err := b.ServeDNS(ctx, w, req); err != nil {
			t.Fatal(err)
		}
	}); n > bare+1 {
		t.Errorf("%v allocations, %v without us", n, bare)
	}
}

func BenchmarkClean(b *testing.B) {
	req := new(dns.Msg).SetQuestion("x.example.", dns.TypeA)
	m := new(dns.Msg).SetReply(req)
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeA}, A: []byte{8, 8, 8, 8}}}
	r := &Rebind{Next: plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, _ *dns.Msg) (int, error) { return 0, w.WriteMsg(m) })}
	w := &test.ResponseWriter{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ServeDNS(context.Background(), w, req); err != nil {
			b.Fatal(err)
		}
	}
}

// No answer keeps a private address, and each can be packed.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"x.example. 60 IN A 10.0.0.1", "x.example. 60 IN AAAA 2002:a00:1::", "x.example. 60 IN HTTPS 1 . mandatory=ipv4hint ipv4hint=10.0.0.1"} {
		rr, err := dns.NewRR(s)
		if err != nil {
			f.Fatal(err)
		}
		m := new(dns.Msg).SetQuestion("x.example.", rr.Header().Rrtype)
		m.Response, m.Answer = true, []dns.RR{rr}
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	b := &Rebind{}
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil || len(m.Question) != 1 {
			return
		}
		_, err := m.Pack()
		packs := err == nil
		req := new(dns.Msg)
		req.Question = m.Question
		clean := b.clean(context.Background(), req, m)
		if a := b.first(clean); a.IsValid() {
			t.Errorf("%s is left in %v", a, clean)
		}
		if _, err := clean.Pack(); packs && err != nil {
			t.Errorf("%v: %v", err, clean)
		}
	})
}

func TestSetup(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"rebind", ""},
		{"rebind {\n allow plex.direct fritz.box\n block 2001:db8::/32\n localhost_ok\n}", ""},
		{"rebind fritz.box", "takes no arguments; names that may resolve to private addresses go into `allow`"},
		{"rebind {\n allow\n}", "allow: want one or more arguments"},
		{"rebind {\n allow .\n}", `allow ".": want a name`},
		{"rebind {\n block 10.0.0.1\n}", `block "10.0.0.1": want a prefix such as 203.0.113.0/24 or 2001:db8::/48`},
		{"rebind {\n localhost_ok yes\n}", "takes no arguments"},
		{"rebind {\n alow x\n}", `unknown property "alow": want allow, block or localhost_ok`},
		{"rebind\nrebind", "plugin can only be used once"},
	} {
		_, err := parse(caddy.NewTestController("dns", c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

// TestLateAnswer: what a plugin below writes after its query has ended reaches no other
// client.
func TestLateAnswer(t *testing.T) {
	b := parsed(t, "rebind")
	var late dns.ResponseWriter
	b.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		if late == nil {
			late = w
			return dns.RcodeSuccess, nil
		}
		m := new(dns.Msg).SetQuestion("first.example.", dns.TypeA)
		_ = late.WriteMsg(m.SetReply(m)) // the first client's connection may be gone
		return dns.RcodeSuccess, w.WriteMsg(new(dns.Msg).SetReply(r))
	})
	for _, name := range []string{"first.example.", "second.example."} {
		rec := dnstest.NewMultiRecorder(&test.ResponseWriter{})
		if _, err := b.ServeDNS(context.Background(), rec, new(dns.Msg).SetQuestion(name, dns.TypeA)); err != nil {
			t.Fatal(err)
		}
		for _, m := range rec.Msgs {
			if m.Question[0].Name != name {
				t.Errorf("the client that queried %s got the answer for %s", name, m.Question[0].Name)
			}
		}
	}
}
