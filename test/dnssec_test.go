package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// DNSSEC end to end, with unbound as a resolver that validates, once over TLS for listed names
// and once in the clear for others: AD only from the one that is authenticated; DO and CD, and
// with them signatures and proofs, pass the cache, route and listed, so that a client can
// validate; a bogus answer is SERVFAIL with the resolver's reason.
//
// Guarantee 1: set before answer.
// What a client gets of a bogus name by CD is routed, too.
func TestDNSSEC(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	s := newSigner(t)
	g.StartKnot(signedZone, s.zone(g.World, g.Plan.Knot.V4.AsSlice()))
	g.startValidator(signedZone, strings.ReplaceAll(s.key.String(), "\t", " "))
	g.Box.Write("mine.txt", "listed.example\nsafe.signed.example\nbogus.signed.example\nw.signed.example\n")
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    listed mine
    route vpn
    cache
    rebind
    upstream vpn tls://%[1]s%%%[2]s
}
. {
    cache
    home
    rebind
    upstream wan %[1]s:%[3]d
}
`, g.Plan.Knot.V4, validatorName, validatorPort))
	g.start()

	const noEDNS, plain, ad, do, cd = "without EDNS", "plain", "AD", "DO", "DO and CD"
	ask := func(name string, qtype uint16, how string) *dns.Msg {
		m := new(dns.Msg).SetQuestion(name, qtype)
		m.AuthenticatedData = how == ad
		m.CheckingDisabled = how == cd
		if how != noEDNS {
			m.SetEdns0(1232, how == do || how == cd)
		}
		reply, err := g.Client.Query(m, "udp")
		if err != nil {
			t.Fatalf("%s with %s: %v", name, how, err)
		}
		return reply
	}
	has := func(records []dns.RR, rrtype uint16) bool {
		for _, rr := range records {
			if rr.Header().Rrtype == rrtype {
				return true
			}
		}
		return false
	}
	for _, c := range []struct {
		name     string
		qtype    uint16
		how      string
		rcode    int
		ad       bool
		sig, nsc bool // signatures in the answer; proofs in the authority section
	}{
		{"safe.signed.example.", dns.TypeA, do, dns.RcodeSuccess, true, true, false},
		{"safe.signed.example.", dns.TypeA, do, dns.RcodeSuccess, true, true, false}, // cached
		{"safe.signed.example.", dns.TypeA, ad, dns.RcodeSuccess, true, false, false},
		{"safe.signed.example.", dns.TypeA, plain, dns.RcodeSuccess, false, false, false},
		{"safe.signed.example.", dns.TypeA, cd, dns.RcodeSuccess, false, true, false},
		{"safe.signed.example.", dns.TypeAAAA, do, dns.RcodeSuccess, true, false, true},
		{"x.w.signed.example.", dns.TypeA, do, dns.RcodeSuccess, true, true, true},
		{"clear.signed.example.", dns.TypeA, do, dns.RcodeSuccess, false, true, false},
		{"clear.signed.example.", dns.TypeA, ad, dns.RcodeSuccess, false, false, false},
		{"missing.signed.example.", dns.TypeA, do, dns.RcodeNameError, false, false, true},
		{"www.other.example.", dns.TypeA, do, dns.RcodeSuccess, false, false, false}, // unsigned
		{"bogus.signed.example.", dns.TypeA, do, dns.RcodeServerFailure, false, false, false},
		{"bogus.signed.example.", dns.TypeA, noEDNS, dns.RcodeServerFailure, false, false, false},
		{"bogus.signed.example.", dns.TypeA, cd, dns.RcodeSuccess, false, true, false},
	} {
		m := ask(c.name, c.qtype, c.how)
		// An answer to CD was not checked: AD says nothing then, and unbound may set it of what it has validated before.
		adWrong := m.AuthenticatedData != c.ad && c.how != cd
		if m.Rcode != c.rcode || adWrong || has(m.Answer, dns.TypeRRSIG) != c.sig || has(m.Ns, dns.TypeNSEC) != c.nsc || m.CheckingDisabled != (c.how == cd) {
			t.Errorf("%s %s with %s: %v; want rcode %d, AD %v, signatures %v, proofs %v", c.name, dns.TypeToString[c.qtype], c.how, m, c.rcode, c.ad, c.sig, c.nsc)
		}
		if c.rcode == dns.RcodeServerFailure && c.how == do && !isBogus(m) {
			t.Errorf("%s: %v: want unbound's reason (RFC 8914)", c.name, m)
		}
		if c.rcode == dns.RcodeSuccess && strings.HasPrefix(c.name, "bogus") {
			addrs := addressesIn(m)
			g.wantLearned("vpn", addrs...)
			g.wantVia(g.Client, netlab.ViaVPN, addrs...)
		}
	}
	// A client that validates itself believes what comes through the box.
	anchors := g.Box.Write("anchors", fmt.Sprintf("trust-anchors { %q static-key 257 3 %d %q; };\n", signedZone, s.key.Algorithm, s.key.PublicKey))
	for _, name := range []string{"safe.signed.example", "x.w.signed.example", "clear.signed.example"} {
		out, err := g.Client.Exec("delv", "@"+g.BoxLAN.V4.String(), "-a", anchors, "+root="+strings.TrimSuffix(signedZone, "."), name, "A")
		if err != nil || !strings.Contains(out, "fully validated") {
			t.Errorf("delv %s: %s, %v", name, out, err)
		}
	}
	out, _ := g.Client.Exec("delv", "@"+g.BoxLAN.V4.String(), "-a", anchors, "+root="+strings.TrimSuffix(signedZone, "."), "bogus.signed.example", "A")
	if strings.Contains(out, "fully validated") {
		t.Errorf("delv believes a forged address: %s", out)
	}
}

// isBogus reports whether an answer says that DNSSEC is why there is none: codes 6 to 12 of RFC
// 8914.
func isBogus(m *dns.Msg) bool {
	opt := m.IsEdns0()
	if opt == nil {
		return false
	}
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_EDE); ok && e.InfoCode >= dns.ExtendedErrorCodeDNSBogus && e.InfoCode <= dns.ExtendedErrorCodeNSECMissing {
			return true
		}
	}
	return false
}
