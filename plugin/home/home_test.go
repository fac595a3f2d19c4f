package home

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

const forwarded = "forwarded"

// ask returns the answer in one line, or that it is forwarded.
func ask(t *testing.T, h *Home, qname string, qtype uint16) string {
	t.Helper()
	h.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		return dns.RcodeSuccess, w.WriteMsg(new(dns.Msg).SetRcode(r, dns.RcodeRefused))
	})
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	r := new(dns.Msg).SetQuestion(qname, qtype)
	r.SetEdns0(1232, true)
	if _, err := h.ServeDNS(context.Background(), rec, r); err != nil {
		t.Fatal(err)
	}
	m := rec.Msg
	if m.Rcode == dns.RcodeRefused {
		return forwarded
	}
	// glibc takes an empty answer with neither AA nor RA for a lame server's.
	if !m.Authoritative || !m.Response || m.AuthenticatedData {
		t.Errorf("%s: flags %v", qname, m.MsgHdr)
	}
	if _, err := m.Pack(); err != nil {
		t.Errorf("%s: %v", qname, err)
	}
	words := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		words = append(words, strings.Join(strings.Fields(rr.String()), " "))
	}
	for _, rr := range m.Ns {
		words = append(words, fmt.Sprintf("SOA %s %d", rr.Header().Name, rr.Header().Ttl))
	}
	return strings.Join(words, " | ")
}

func parsed(t *testing.T, text string) *Home {
	t.Helper()
	h, err := parse(caddy.NewTestController("dns", text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return h
}

func TestAnswers(t *testing.T) {
	h := parsed(t, "home Lan 192.0.3.0/24 {\n except 168.192.in-addr.arpa office.lan ai\n except 10.1.0.0/16\n}")
	loop6 := "1." + strings.Repeat("0.", 31) + "ip6.arpa."
	for _, c := range []struct {
		qname string
		qtype uint16
		want  string
	}{
		{"localhost.", dns.TypeA, "NOERROR | localhost. 10800 IN A 127.0.0.1"},
		{"LocalHost.", dns.TypeA, "NOERROR | LocalHost. 10800 IN A 127.0.0.1"},
		{"app.localhost.", dns.TypeAAAA, "NOERROR | app.localhost. 10800 IN AAAA ::1"},
		{"localhost.", dns.TypeMX, "NOERROR | SOA localhost. 10800"},
		{"localhost.example.com.", dns.TypeA, forwarded},
		{"1.0.0.127.in-addr.arpa.", dns.TypePTR, "NOERROR | 1.0.0.127.in-addr.arpa. 10800 IN PTR localhost."},
		{"1.0.0.127.in-addr.arpa.", dns.TypeA, "NOERROR | SOA 127.in-addr.arpa. 5"},
		{loop6, dns.TypePTR, "NOERROR | " + loop6 + " 10800 IN PTR localhost."},
		{"2.0.0.127.in-addr.arpa.", dns.TypePTR, "NXDOMAIN | SOA 127.in-addr.arpa. 5"},

		{"abc.onion.", dns.TypeA, "NXDOMAIN | SOA . 10800"},
		{"ABC.Onion.", dns.TypeAAAA, "NXDOMAIN | SOA . 10800"},
		{"onion.", dns.TypeNS, "NXDOMAIN | SOA . 10800"},
		{"printer.local.", dns.TypeA, "NXDOMAIN | SOA . 10800"},
		{"a.invalid.", dns.TypeTXT, "NXDOMAIN | SOA . 10800"},
		{"a.test.", dns.TypeA, "NXDOMAIN | SOA . 10800"},
		{"a.alt.", dns.TypeA, "NXDOMAIN | SOA . 10800"},
		{"a.example.", dns.TypeA, forwarded},
		{"onion.com.", dns.TypeA, forwarded},
		{"notonion.", dns.TypeDS, forwarded},

		{"printer.", dns.TypeA, "NXDOMAIN | SOA . 5"},
		{"printer.", dns.TypeHTTPS, "NXDOMAIN | SOA . 5"},
		{"com.", dns.TypeNS, forwarded},
		{"com.", dns.TypeDS, forwarded},
		{"com.", dns.TypeDNSKEY, forwarded},
		{"com.", dns.TypeSOA, forwarded},
		{"ai.", dns.TypeA, forwarded},
		{".", dns.TypeNS, forwarded},
		{".", dns.TypeA, forwarded},
		{`a\.b.`, dns.TypeA, "NXDOMAIN | SOA . 5"},

		{"tv.home.arpa.", dns.TypeA, "NXDOMAIN | SOA home.arpa. 5"},
		{"home.arpa.", dns.TypeA, "NOERROR | SOA home.arpa. 5"},
		{"home.arpa.", dns.TypeDS, forwarded},
		{"tv.home.arpa.", dns.TypeDS, "NXDOMAIN | SOA home.arpa. 5"},
		{"default.service.arpa.", dns.TypeSOA, "NXDOMAIN | SOA service.arpa. 5"},
		{"tv.lan.", dns.TypeA, "NXDOMAIN | SOA lan. 5"},
		{"lan.", dns.TypeDS, "NOERROR | SOA lan. 5"},
		{"lan.", dns.TypeNS, "NOERROR | lan. 5 IN NS lan."},
		{"office.lan.", dns.TypeA, forwarded},
		{"a.office.lan.", dns.TypeA, forwarded},

		{"1.1.0.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN | SOA 10.in-addr.arpa. 5"},
		{"1.1.1.10.in-addr.arpa.", dns.TypePTR, forwarded},
		{"10.in-addr.arpa.", dns.TypeSOA, "NOERROR | 10.in-addr.arpa. 5 IN SOA 10.in-addr.arpa. nobody.invalid. 1 3600 1200 604800 5"},
		{"10.in-addr.arpa.", dns.TypeDS, forwarded},
		{"2.10.in-addr.arpa.", dns.TypeDS, "NXDOMAIN | SOA 10.in-addr.arpa. 5"},
		{"1.1.168.192.in-addr.arpa.", dns.TypePTR, forwarded},
		{"9.3.0.192.in-addr.arpa.", dns.TypePTR, "NXDOMAIN | SOA 3.0.192.in-addr.arpa. 5"},
		{"1.1.15.172.in-addr.arpa.", dns.TypePTR, forwarded},
		{"1.1.16.172.in-addr.arpa.", dns.TypePTR, "NXDOMAIN | SOA 16.172.in-addr.arpa. 5"},
		{"1.1.31.172.in-addr.arpa.", dns.TypePTR, "NXDOMAIN | SOA 31.172.in-addr.arpa. 5"},
		{"1.1.32.172.in-addr.arpa.", dns.TypePTR, forwarded},
		{"1.1.63.100.in-addr.arpa.", dns.TypePTR, forwarded},
		{"1.1.64.100.in-addr.arpa.", dns.TypePTR, "NXDOMAIN | SOA 64.100.in-addr.arpa. 5"},
		{"1.1.127.100.in-addr.arpa.", dns.TypePTR, "NXDOMAIN | SOA 127.100.in-addr.arpa. 5"},
		{"8.8.8.8.in-addr.arpa.", dns.TypePTR, forwarded},
		{reverseOf(t, "fd12::1"), dns.TypePTR, "NXDOMAIN | SOA d.f.ip6.arpa. 5"},
		{reverseOf(t, "fe80::1"), dns.TypePTR, "NXDOMAIN | SOA 8.e.f.ip6.arpa. 5"},
		{reverseOf(t, "2001:db8::1"), dns.TypePTR, "NXDOMAIN | SOA 8.b.d.0.1.0.0.2.ip6.arpa. 5"},
		{reverseOf(t, "2001:4860::8888"), dns.TypePTR, forwarded},

		{"_dns.resolver.arpa.", dns.TypeSVCB, "NOERROR | SOA resolver.arpa. 10800"},
		{"resolver.arpa.", dns.TypeA, "NOERROR | SOA resolver.arpa. 10800"},
		{"use-application-dns.net.", dns.TypeA, "NOERROR | SOA use-application-dns.net. 10800"},
		{"mask.icloud.com.", dns.TypeAAAA, "NOERROR | SOA mask.icloud.com. 10800"},
		{"mask-h2.icloud.com.", dns.TypeHTTPS, "NOERROR | SOA mask-h2.icloud.com. 10800"},
		{"icloud.com.", dns.TypeA, forwarded},
	} {
		if got := ask(t, h, c.qname, c.qtype); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.qname, dns.TypeToString[c.qtype], got, c.want)
		}
	}
	h = parsed(t, "home {\n canary off\n}")
	for _, c := range canaries {
		if got := ask(t, h, c, dns.TypeA); got != forwarded {
			t.Errorf("canary off: %s: %s", c, got)
		}
	}
	if got := ask(t, h, "tv.lan.", dns.TypeA); got != forwarded {
		t.Errorf("lan, which is not named: %s", got)
	}
}

func reverseOf(t *testing.T, addr string) string {
	t.Helper()
	name, err := dns.ReverseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Looking costs nothing, whatever the name.
func TestLookingCostsNothing(t *testing.T) {
	h := parsed(t, "home lan")
	for _, qname := range []string{"www.example.com.", "com.", "1.168.192.in-addr.arpa.", reverseOf(t, "2001:4860::8888")} {
		if n := testing.AllocsPerRun(100, func() { h.zoneOf(qname, dns.TypeA) }); n != 0 {
			t.Errorf("%s: %v allocations", qname, n)
		}
	}
}

// Whatever is asked, an answer can be sent and is one that a resolver may keep.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"localhost.", "a.onion.", "printer.", "1.10.in-addr.arpa.", `\000.`, "."} {
		f.Add(s, dns.TypeA)
	}
	h := newHome([]string{"lan."}, true)
	f.Fuzz(func(t *testing.T, qname string, qtype uint16) {
		r := new(dns.Msg).SetQuestion(dns.Fqdn(qname), qtype)
		wire, err := r.Pack()
		if err != nil || r.Unpack(wire) != nil || len(r.Question) != 1 {
			return
		}
		lower := strings.ToLower(r.Question[0].Name)
		z := h.zoneOf(lower, qtype)
		if z.kind == pass {
			return
		}
		m := z.answer(r, lower)
		if _, err := m.Pack(); err != nil {
			t.Errorf("%q: %v", qname, err)
		}
		if (len(m.Answer) == 0) != (len(m.Ns) == 1) {
			t.Errorf("%q: %v", qname, m)
		}
	})
}

func TestSetup(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"home", ""},
		{"home lan home.arpa {\n except 192.168.1.0/24 fritz.box\n canary on\n}", ""},
		{"home .", `domain ".": want a name below the root`},
		{"home {\n except\n}", "except: want names, each of which"},
		{"home {\n except .\n}", `except ".": want a name below the root`},
		{"home {\n canary\n}", "canary \"\": want on (the default) or off"},
		{"home {\n canary no\n}", `canary "no": want on`},
		{"home {\n domain lan\n}", `unknown property "domain": want except or canary`},
		{"home\nhome lan", "plugin can only be used once"},
	} {
		_, err := parse(caddy.NewTestController("dns", c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}
