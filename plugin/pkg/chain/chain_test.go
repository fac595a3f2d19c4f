package chain

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func records(t testing.TB, text string) (rrs []dns.RR) {
	t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil || rr == nil {
			t.Fatalf("%s: %v", line, err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// lines are records as text, with single spaces and without TTL and class.
func lines(rrs []dns.RR) (out []string) {
	for _, rr := range rrs {
		f := strings.Fields(rr.String())
		out = append(out, strings.Join(append(f[:1:1], f[3:]...), " "))
	}
	return out
}

const sig = " RRSIG A 8 2 60 20300101000000 20200101000000 1 example. AA=="

func TestAnswerSection(t *testing.T) {
	const q = "www.listed.example."
	for _, c := range []struct{ name, answer, want string }{
		{"an address", "www.listed.example. A 30.0.0.1", "www.listed.example. A 30.0.0.1"},
		{"any case", "WWW.listed.EXAMPLE. CNAME Edge.cdn.example.\nedge.CDN.example. A 30.0.0.1", "WWW.listed.EXAMPLE. CNAME Edge.cdn.example.\nedge.CDN.example. A 30.0.0.1"},
		{"of another name", "www.listed.example. A 30.0.0.1\nother.example. A 30.0.0.2\nlisted.example. A 30.0.0.3", "www.listed.example. A 30.0.0.1"},
		{"nothing else", "other.example. A 30.0.0.2\nother.example. AAAA 2a0f::2\nother.example. HTTPS 1 . ipv4hint=30.0.0.3", ""},
		{"a chain that does not begin at the name", "other.example. CNAME cdn.example.\ncdn.example. A 30.0.0.1", ""},
		{"a chain, in the wrong order", "c.example. A 30.0.0.1\nb.example. CNAME c.example.\nwww.listed.example. CNAME b.example.", "c.example. A 30.0.0.1\nb.example. CNAME c.example.\nwww.listed.example. CNAME b.example."},
		{"beside the chain", "www.listed.example. CNAME b.example.\nx.example. CNAME y.example.\ny.example. A 30.0.0.2\nb.example. A 30.0.0.1", "www.listed.example. CNAME b.example.\nb.example. A 30.0.0.1"},
		{"a second CNAME", "www.listed.example. CNAME b.example.\nwww.listed.example. CNAME x.example.\nx.example. A 30.0.0.2\nb.example. A 30.0.0.1", "www.listed.example. CNAME b.example.\nb.example. A 30.0.0.1"},
		{"a loop", "www.listed.example. CNAME b.example.\nb.example. CNAME www.listed.example.\nx.example. A 30.0.0.2", "www.listed.example. CNAME b.example.\nb.example. CNAME www.listed.example."},
		{"a loop, reversed", "b.example. CNAME www.listed.example.\nwww.listed.example. CNAME b.example.", "b.example. CNAME www.listed.example.\nwww.listed.example. CNAME b.example."},
		{"itself", "www.listed.example. CNAME www.listed.example.", "www.listed.example. CNAME www.listed.example."},
		{"a DNAME with its CNAME", "listed.example. DNAME cdn.example.\nwww.listed.example. CNAME www.cdn.example.\nwww.cdn.example. A 30.0.0.1", "listed.example. DNAME cdn.example.\nwww.listed.example. CNAME www.cdn.example.\nwww.cdn.example. A 30.0.0.1"},
		{"a DNAME without it", "listed.example. DNAME cdn.example.\nwww.cdn.example. A 30.0.0.1\nx.cdn.example. A 30.0.0.2", "listed.example. DNAME cdn.example.\nwww.listed.example. CNAME www.cdn.example.\nwww.cdn.example. A 30.0.0.1"},
		{"a DNAME that says otherwise", "listed.example. DNAME evil.example.\nwww.listed.example. CNAME b.example.\nb.example. A 30.0.0.1\nwww.evil.example. A 30.0.0.2", "www.listed.example. CNAME b.example.\nb.example. A 30.0.0.1"},
		{"a DNAME elsewhere", "other.example. DNAME cdn.example.\nwww.cdn.example. A 30.0.0.1", ""},
		{"a DNAME of the name itself leads below it only", "www.listed.example. DNAME cdn.example.\ncdn.example. A 30.0.0.1", "www.listed.example. DNAME cdn.example."},
		{"a DNAME of the root leads on once", ". DNAME example.\nwww.listed.example.example. A 30.0.0.1", ". DNAME example.\nwww.listed.example. CNAME www.listed.example.example.\nwww.listed.example.example. A 30.0.0.1"},
		{"a DNAME to the root", "listed.example. DNAME .\nwww. A 30.0.0.1", "listed.example. DNAME .\nwww.listed.example. CNAME www.\nwww. A 30.0.0.1"},
		{"signatures", "www.listed.example." + sig + "\nother.example." + sig + "\nwww.listed.example. A 30.0.0.1\nother.example. A 30.0.0.2", "www.listed.example." + sig + "\nwww.listed.example. A 30.0.0.1"},
		{"other types of the name", "www.listed.example. TXT x\nwww.listed.example. SRV 1 1 1 srv.example.\nother.example. SRV 1 1 1 srv2.example.", "www.listed.example. TXT \"x\"\nwww.listed.example. SRV 1 1 1 srv.example."},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := new(dns.Msg).SetQuestion(q, dns.TypeA)
			m.Answer, m.AuthenticatedData = records(t, c.answer), true
			before := m.String()
			out, gone := clean(m, []string{q})
			if diff := cmp.Diff(lines(records(t, c.want)), lines(out.Answer)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if n := len(m.Answer) - gone.foreign; out.AuthenticatedData != (gone.foreign == 0) || n > len(out.Answer) {
				t.Errorf("%d are said to be removed, AD %v", gone.foreign, out.AuthenticatedData)
			}
			if m.String() != before {
				t.Error("the message that was handed over, which a cache may hold, has changed")
			}
			again, gone := clean(out, []string{q})
			if gone != (removed{}) || cmp.Diff(lines(out.Answer), lines(again.Answer)) != "" {
				t.Errorf("a second time more is removed: %v", lines(again.Answer))
			}
		})
	}
}

// A handler below may know the name by another one, as rewrite makes it.
func TestSecondName(t *testing.T) {
	m := new(dns.Msg).SetQuestion("printer.home.", dns.TypeA)
	m.Answer = records(t, "real.example. CNAME cdn.example.\ncdn.example. A 30.0.0.1\nother.example. A 30.0.0.2")
	out, _ := clean(m, []string{"printer.home.", "Real.example."})
	if got := lines(out.Answer); len(got) != 2 {
		t.Errorf("got %q", got)
	}
}

func TestOtherSections(t *testing.T) {
	m := new(dns.Msg).SetQuestion("www.listed.example.", dns.TypeA)
	m.Answer = records(t, "www.listed.example. CNAME edge.cdn.test.\nedge.cdn.test. A 30.0.0.1")
	m.Ns = records(t, `listed.example. NS ns.host.example.
		cdn.test. NS ns.cdn.test.
		. NS a.root.example.
		other.example. NS ns.other.example.
		other.example. SOA ns. mbox. 1 1 1 1 1
		cdn.test. SOA ns. mbox. 1 1 1 1 1
		ns.host.example. A 30.0.0.9
		x.test. NSEC z.test. A
		edge.cdn.test. A 30.0.0.8`)
	m.Extra = records(t, "ns.cdn.test. A 30.0.0.7\nedge.cdn.test. AAAA 2a0f::7")
	m.SetEdns0(1232, true)
	out, gone := clean(m, []string{"www.listed.example."})
	want := []string{
		"listed.example. NS ns.host.example.", "cdn.test. NS ns.cdn.test.", ". NS a.root.example.",
		"cdn.test. SOA ns. mbox. 1 1 1 1 1", "x.test. NSEC z.test. A",
	}
	if diff := cmp.Diff(want, lines(out.Ns)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(out.Extra) != 1 || out.IsEdns0() == nil || gone != (removed{}) {
		t.Errorf("additional section %v, removed %+v", out.Extra, gone)
	}
}

// Each bound, at it, below and above.
func TestBounds(t *testing.T) {
	count := func(m *dns.Msg) (addrs []netip.Addr, targets int) {
		for _, rr := range m.Answer {
			addrs = AppendAddresses(addrs, rr)
			if Target(rr) != "" {
				targets++
			}
		}
		return addrs, targets
	}
	const q = "x.example."
	build := func(n int, record func(i int) string) *dns.Msg {
		var text strings.Builder
		for i := range n {
			fmt.Fprintln(&text, record(i))
		}
		m := new(dns.Msg).SetQuestion(q, dns.TypeANY)
		m.Answer = records(t, text.String())
		return m
	}
	for _, d := range []int{-1, 0, 1, 500} {
		surplus := max(d, 0)
		out, gone := clean(build(MaxAddresses+d, func(i int) string { return fmt.Sprintf("%s A 30.0.%d.%d", q, i/256, i%256) }), []string{q})
		if a, _ := count(out); len(a) != MaxAddresses+d-surplus || gone.surplus != surplus {
			t.Errorf("%+d addresses: %d, %d removed", d, len(a), gone.surplus)
		}
		out, gone = clean(build(MaxTargets+d, func(i int) string { return fmt.Sprintf("%s SRV 1 1 1 t%d.example.", q, i) }), []string{q})
		if _, n := count(out); n != MaxTargets+d-surplus || gone.surplus != surplus {
			t.Errorf("%+d targets: %d, %d removed", d, n, gone.surplus)
		}
		out, gone = clean(build(MaxNames+d, func(i int) string {
			if i == 0 {
				return q + " CNAME n0."
			}
			return fmt.Sprintf("n%d. CNAME n%d.", i-1, i)
		}), []string{q})
		if _, n := count(out); n != MaxNames+d-surplus || gone.foreign != surplus {
			t.Errorf("%+d links: %d, %d removed", d, n, gone.foreign)
		}
		m := build(1, func(int) string { return q + " HTTPS 1 . mandatory=ipv4hint alpn=h2 ipv4hint=30.0.0.1" })
		hint := &dns.SVCBIPv4Hint{}
		for i := range MaxAddresses + d {
			hint.Hint = append(hint.Hint, net.IPv4(30, 1, byte(i/256), byte(i)))
		}
		m.Answer[0].(*dns.HTTPS).Value[2] = hint
		out, gone = clean(m, []string{q})
		if a, _ := count(out); len(a) != MaxAddresses+d-surplus || gone.surplus != min(surplus, 1) {
			t.Errorf("%+d hints: %d, %d removed", d, len(a), gone.surplus)
		}
		if len(hint.Hint) != MaxAddresses+d {
			t.Error("the record of the cache has changed")
		}
	}

	// Nothing is left of a record's hints: it no longer demands them either.
	m := build(MaxAddresses, func(i int) string { return fmt.Sprintf("%s A 30.0.%d.%d", q, i/256, i%256) })
	m.Answer = append(m.Answer, records(t, q+" HTTPS 1 . mandatory=ipv4hint alpn=h2 ipv4hint=30.1.0.1\n"+q+" AAAA 2a0f::1\n"+q+" TXT x\n"+q+" SRV 1 1 1 t.example.\n"+q+` URI 1 1 "https://[2a0f::2]/"`)...)
	out, gone := clean(m, []string{q})
	if got := lines(out.Answer[MaxAddresses:]); !slices.Equal(got, []string{q + ` HTTPS 1 . alpn="h2"`, q + ` TXT "x"`, q + " SRV 1 1 1 t.example."}) || gone.surplus != 3 {
		t.Errorf("got %q, %d removed", got, gone.surplus)
	}
}

func TestTargets(t *testing.T) {
	for text, want := range map[string]string{
		"x. CNAME a.example.":     "a.example.",
		"x. DNAME a.example.":     "a.example.",
		"x. HTTPS 1 a.example.":   "a.example.",
		"x. HTTPS 1 .":            "",
		"x. SVCB 0 a.example.":    "a.example.",
		"x. SRV 1 1 1 a.example.": "a.example.",
		"x. SRV 0 0 0 .":          "",
		"x. MX 1 a.example.":      "a.example.",
		"x. MX 0 .":               "",
		"x. PTR a.example.":       "a.example.",
		"x. AFSDB 1 a.example.":   "a.example.",
		"x. KX 1 a.example.":      "a.example.",
		"x. RT 1 a.example.":      "a.example.",
		"x. LP 1 a.example.":      "a.example.",
		`x. NAPTR 1 1 "s" "SIP+D2U" "" _sip._udp.a.example.`:          "_sip._udp.a.example.",
		`x. NAPTR 1 1 "u" "E2U+sip" "!^.*$!sip:i@a.example!" .`:       "a.example.",
		`x. NAPTR 1 1 "U" "E2U+web" "/^.*$/http://a.example:8/x/" .`:  "", // its own delimiter ends it
		`x. NAPTR 1 1 "u" "E2U+sip" "!^(.*)$!sip:\\1@\\1.example!" .`: "",
		`x. URI 1 1 "https://u@a.example:8443/path?x#y"`:              "a.example.",
		`x. URI 1 1 "sip:user@a.example;transport=udp"`:               "a.example.",
		`x. URI 1 1 "sips:a.example:5061"`:                            "a.example.",
		`x. URI 1 1 "mailto:me@a.example?subject=x"`:                  "a.example.",
		`x. URI 1 1 "https://30.0.0.1/"`:                              "",
		`x. URI 1 1 "urn:isbn:1"`:                                     "",
		`x. URI 1 1 "%"`:                                              "",
		"x. A 30.0.0.1":                                               "",
		"x. TXT a.example.":                                           "",
	} {
		if got := Target(records(t, text)[0]); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"x. A 30.0.0.1": "30.0.0.1", "x. AAAA ::ffff:30.0.0.1": "30.0.0.1", "x. AAAA 2a0f::1": "2a0f::1",
		"x. SVCB 1 . ipv6hint=2a0f::1": "2a0f::1", `x. URI 1 1 "https://[2a0f::1]:8/"`: "2a0f::1",
		`x. URI 1 1 "sip:me@[2a0f::1]:5060"`: "2a0f::1", `x. URI 1 1 "sip:30.0.0.1"`: "30.0.0.1",
		`x. NAPTR 1 1 "u" "x" "!.*!sip:30.0.0.1!" .`: "30.0.0.1",
	} {
		if got := AppendAddresses(nil, records(t, text)[0]); len(got) != 1 || got[0].String() != want {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}

// FuzzClean holds that what is left belongs to the chain, is bounded, and is left as it is
// a second time.
func FuzzClean(f *testing.F) {
	seed := new(dns.Msg).SetQuestion("www.listed.example.", dns.TypeA)
	seed.Answer = records(f, "b.example. CNAME c.example.\nwww.listed.example. CNAME b.example.\nlisted.example. DNAME d.example.\nc.example. A 30.0.0.1\nx.example. A 30.0.0.2\nc.example. HTTPS 1 t.example. mandatory=ipv4hint ipv4hint=30.0.0.3,30.0.0.4\n"+`c.example. URI 1 1 "sip:x@[2a0f::1]"`)
	seed.Ns = records(f, "example. NS ns.example.\nns.example. A 30.0.0.5")
	b, err := seed.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, "")
	f.Add(b, "c.example.")
	f.Fuzz(func(t *testing.T, b []byte, second string) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil || len(m.Question) == 0 {
			return
		}
		name := m.Question[0].Name
		names := []string{name}
		if _, ok := dns.IsDomainName(second); ok {
			names = append(names, dns.Fqdn(second))
		}
		out, _ := clean(m, names)
		reachable := reach(out.Answer, names...)
		var n []netip.Addr
		for _, rr := range out.Answer {
			owner := strings.ToLower(rr.Header().Name)
			if typeOf(rr) != dns.TypeDNAME && !reachable[owner] {
				t.Fatalf("%s is not on the chain from %s in\n%s", rr, name, m)
			}
			n = AppendAddresses(n, rr)
		}
		for _, rr := range slices.Concat(out.Ns, out.Extra) {
			if a := AppendAddresses(nil, rr); len(a) > 0 {
				t.Fatalf("%s is left outside of the answer section", rr)
			}
		}
		if len(n) > MaxAddresses {
			t.Fatalf("%d addresses", len(n))
		}
		if _, err := out.Pack(); err != nil {
			if _, before := m.Pack(); before == nil {
				t.Fatalf("cannot be packed any more: %v", err)
			}
		}
		again, gone := clean(out, names)
		if gone != (removed{}) || len(again.Answer) != len(out.Answer) || len(again.Ns) != len(out.Ns) {
			t.Fatalf("a second time more is removed, %+v:\n%s\n%s", gone, out, again)
		}
	})
}

// reach is every name that CNAMEs lead to, the simple and slow way.
func reach(answer []dns.RR, from ...string) map[string]bool {
	found := map[string]bool{}
	for _, name := range from {
		found[strings.ToLower(name)] = true
	}
	for grown := true; grown; {
		grown = false
		for _, rr := range answer {
			c, ok := rr.(*dns.CNAME)
			if ok && found[strings.ToLower(c.Hdr.Name)] && !found[strings.ToLower(c.Target)] {
				found[strings.ToLower(c.Target)], grown = true, true
			}
		}
	}
	return found
}

// Linear: a thousand times the records, a thousand times the work and not a million.
func BenchmarkClean(b *testing.B) {
	for _, n := range []int{1, 10, 100, 16000} {
		for _, kind := range []string{"hints", "foreign", "links"} {
			m := new(dns.Msg).SetQuestion("x.example.", dns.TypeHTTPS)
			hint := &dns.SVCBIPv4Hint{}
			for i := range n {
				ip := net.IPv4(30, byte(i>>16), byte(i>>8), byte(i)).To4()
				h := dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}
				switch kind {
				case "hints":
					hint.Hint = append(hint.Hint, ip)
				case "foreign":
					h.Name = fmt.Sprintf("n%d.example.", i)
					m.Answer = append(m.Answer, &dns.A{Hdr: h, A: ip})
				case "links":
					if i > 0 {
						h.Name = fmt.Sprintf("n%d.example.", i)
					}
					h.Rrtype = dns.TypeCNAME
					m.Answer = append(m.Answer, &dns.CNAME{Hdr: h, Target: fmt.Sprintf("n%d.example.", i+1)})
				}
			}
			if kind == "hints" {
				m.Answer = []dns.RR{&dns.HTTPS{SVCB: dns.SVCB{Hdr: dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeHTTPS, Class: dns.ClassINET}, Priority: 1, Target: ".", Value: []dns.SVCBKeyValue{hint}}}}
			}
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					clean(m, []string{"x.example."})
				}
			})
		}
	}
}
