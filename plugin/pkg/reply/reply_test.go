package reply

import (
	"strings"
	"testing"

	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

func query(edns bool) *dns.Msg {
	r := new(dns.Msg).SetQuestion("nas.home.arpa.", dns.TypeA)
	if edns {
		r.SetEdns0(1232, true)
	}
	return r
}

func TestAuthoritative(t *testing.T) {
	r := query(false)
	m := Authoritative(r)
	if m.Id != r.Id || !m.Response || !m.Authoritative || !m.RecursionAvailable || m.Question[0] != r.Question[0] {
		t.Errorf("reply %v", m)
	}
}

func TestFailure(t *testing.T) {
	for _, edns := range []bool{false, true} {
		r := query(edns)
		m := Failure(r, dns.ExtendedErrorCodeNetworkError, strings.Repeat("long ", 100))
		if m.Id != r.Id || !m.Response || m.Rcode != dns.RcodeServerFailure || !m.RecursionDesired || m.Question[0] != r.Question[0] {
			t.Errorf("EDNS %v: %v", edns, m)
		}
		opt := m.IsEdns0()
		if !edns {
			if opt != nil {
				t.Errorf("a client without EDNS gets %v", opt)
			}
			continue
		}
		ede, ok := opt.Option[0].(*dns.EDNS0_EDE)
		if !ok || ede.InfoCode != dns.ExtendedErrorCodeNetworkError || len(ede.ExtraText) != maxText || opt.UDPSize() != 1232 || !opt.Do() {
			t.Errorf("OPT %v", opt)
		}
	}
}

func TestAddErrorKeepsOptions(t *testing.T) {
	r := query(true)
	m := new(dns.Msg).SetReply(r)
	m.SetEdns0(4096, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "00"}}
	AddError(r, m, dns.ExtendedErrorCodeBlocked, "why")
	if o := m.IsEdns0(); len(m.Extra) != 1 || len(o.Option) != 2 || o.UDPSize() != 4096 {
		t.Errorf("OPT %v of %d", o, len(m.Extra))
	}
}

func TestCapTTL(t *testing.T) {
	m := new(dns.Msg)
	m.Answer = []dns.RR{test.A("a.example. 300 IN A 192.0.2.1"), test.A("a.example. 10 IN A 192.0.2.2")}
	m.SetEdns0(1232, true)
	if CapTTL(m, 300) != m {
		t.Error("copied although nothing is to be lowered")
	}
	c := CapTTL(m, 60)
	if c == m || m.Answer[0].Header().Ttl != 300 {
		t.Error("the message itself is changed, which a cache may hold")
	}
	if c.Answer[0].Header().Ttl != 60 || c.Answer[1].Header().Ttl != 10 || !c.IsEdns0().Do() {
		t.Errorf("capped: %v", c)
	}
}

func TestSOA(t *testing.T) {
	const want = "home.arpa.\t60\tIN\tSOA\thome.arpa. nobody.invalid. 1 3600 1200 604800 60"
	if got := SOA("home.arpa.", 60).String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
