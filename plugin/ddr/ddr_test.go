package ddr

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// at is a client's end that has asked an address of ours.
type at struct {
	test.ResponseWriter
	local, remote string
}

func (w *at) LocalAddr() net.Addr  { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(w.local)) }
func (w *at) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(w.remote)) }

// ask asks a server whose next plugin refuses.
func ask(t *testing.T, d *DDR, local, qname string, qtype uint16) *dns.Msg {
	t.Helper()
	d.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		return 0, w.WriteMsg(new(dns.Msg).SetRcode(r, dns.RcodeRefused))
	})
	rec := dnstest.NewRecorder(&at{local: local, remote: "127.0.0.1:5353"})
	if _, err := d.ServeDNS(context.Background(), rec, new(dns.Msg).SetQuestion(qname, qtype)); err != nil {
		t.Fatal(err)
	}
	return rec.Msg
}

// text is an answer's section as a zone file has it.
func text(records []dns.RR) string {
	var lines []string
	for _, rr := range records {
		lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
	}
	return strings.Join(lines, "\n")
}

func usual() *DDR {
	lan := link{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
	return &DDR{target: "dns.home.example.", own: func() []link { return []link{{netip.MustParseAddr("203.0.113.7")}, lan} }, endpoints: []instance.Endpoint{
		{Transport: "tls", Port: 853}, {Transport: "https", Port: 443}, {Transport: "https3", Port: 443}, {Transport: "quic", Port: 853},
	}}
}

func TestRecords(t *testing.T) {
	for _, c := range []struct{ local, want string }{
		{"192.168.1.1:53", `
			_dns.resolver.arpa. 300 IN SVCB 1 dns.home.example. alpn="h3,h2" port="443" ipv4hint="192.168.1.1" ipv6hint="fd00::1,2001:db8::1" dohpath="/dns-query{?dns}"
			_dns.resolver.arpa. 300 IN SVCB 2 dns.home.example. alpn="doq" port="853" ipv4hint="192.168.1.1" ipv6hint="fd00::1,2001:db8::1"
			_dns.resolver.arpa. 300 IN SVCB 3 dns.home.example. alpn="dot" port="853" ipv4hint="192.168.1.1" ipv6hint="fd00::1,2001:db8::1"`},
		{"[2001:db8::2]:53", `
			_dns.resolver.arpa. 300 IN SVCB 1 dns.home.example. alpn="h3,h2" port="443" ipv4hint="192.168.1.1" ipv6hint="2001:db8::2" dohpath="/dns-query{?dns}"
			_dns.resolver.arpa. 300 IN SVCB 2 dns.home.example. alpn="doq" port="853" ipv4hint="192.168.1.1" ipv6hint="2001:db8::2"
			_dns.resolver.arpa. 300 IN SVCB 3 dns.home.example. alpn="dot" port="853" ipv4hint="192.168.1.1" ipv6hint="2001:db8::2"`},
	} {
		m := ask(t, usual(), c.local, "_dns.resolver.arpa.", dns.TypeSVCB)
		if want := strings.ReplaceAll(strings.TrimSpace(c.want), "\t", ""); text(m.Answer) != want || !m.Authoritative {
			t.Errorf("%s:\n%s\nwant\n%s", c.local, text(m.Answer), want)
		}
		// RFC 9460 section 4.1: the addresses come with them.
		if len(m.Extra) < 2 {
			t.Errorf("%s: additional section %v", c.local, m.Extra)
		}
		// What goes over the wire is the same.
		raw, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		back := new(dns.Msg)
		if err := back.Unpack(raw); err != nil || text(back.Answer) != text(m.Answer) {
			t.Errorf("%v, %s", err, text(back.Answer))
		}
	}
}

// A listener that is bound elsewhere is not told of.
func TestBoundElsewhere(t *testing.T) {
	d := usual()
	d.endpoints = []instance.Endpoint{
		{Transport: "tls", Port: 853, Addrs: []netip.Addr{netip.MustParseAddr("203.0.113.7")}},
		{Transport: "https", Port: 8443, Addrs: []netip.Addr{netip.MustParseAddr("192.168.1.1")}},
	}
	want := `_dns.resolver.arpa. 300 IN SVCB 1 dns.home.example. alpn="h2" port="8443" ipv4hint="192.168.1.1" dohpath="/dns-query{?dns}"`
	if got := text(ask(t, d, "192.168.1.1:53", "_dns.resolver.arpa.", dns.TypeSVCB).Answer); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	d.endpoints = d.endpoints[:1]
	if m := ask(t, d, "192.168.1.1:53", "_dns.resolver.arpa.", dns.TypeSVCB); len(m.Answer) > 0 || len(m.Ns) != 1 || m.Rcode != dns.RcodeSuccess {
		t.Errorf("%v", m)
	}
}

// RFC 9462 section 6.4: no data for all else below resolver.arpa. What is not ours goes on.
func TestNames(t *testing.T) {
	const noData, next = "no data", "next"
	for _, c := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"_DNS.Resolver.ARPA.", dns.TypeSVCB, "3"},
		{"_dns.resolver.arpa.", dns.TypeA, noData},
		{"_dns.resolver.arpa.", dns.TypeHTTPS, noData},
		{"resolver.arpa.", dns.TypeNS, noData},
		{"resolver.arpa.", dns.TypeSOA, "1"},
		{"x.y.resolver.arpa.", dns.TypeTXT, noData},
		{"x.resolver.arpa.", dns.TypeSVCB, noData},
		{"resolver.arpa.", dns.TypeDS, next},
		{"_dns.dns.home.example.", dns.TypeSVCB, "3"},
		{"_dns.dns.home.example.", dns.TypeTXT, noData},
		{"Dns.Home.Example.", dns.TypeA, "1"},
		{"dns.home.example.", dns.TypeAAAA, "2"},
		{"dns.home.example.", dns.TypeTXT, next},
		{"_acme-challenge.dns.home.example.", dns.TypeTXT, next},
		{"www.example.", dns.TypeSVCB, next},
		{"notresolver.arpa.", dns.TypeA, next},
	} {
		m := ask(t, usual(), "192.168.1.1:53", c.name, c.qtype)
		got := noData
		switch {
		case m.Rcode == dns.RcodeRefused:
			got = next
		case len(m.Answer) > 0:
			got = string(rune('0' + len(m.Answer)))
		case len(m.Ns) != 1:
			got = "without an SOA"
		}
		if got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, dns.TypeToString[c.qtype], got, c.want)
		}
	}
}

// On a listener of all addresses the kernel's choice for the client counts.
func TestUnspecified(t *testing.T) {
	d := usual()
	d.own = links
	addrs := d.addresses(&at{local: "[::]:53", remote: "127.0.0.1:5353"})
	if len(addrs) == 0 || addrs[0] != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("%v", addrs)
	}
	d.fixed = []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	if got := d.addresses(&at{local: "[::]:53", remote: "127.0.0.1:5353"}); !slices.Equal(got, d.fixed) {
		t.Errorf("%v", got)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ corefile, want string }{
		{"ddr dns.home.example", ""},
		{"ddr dns.home.example {\n addresses 192.0.2.1 2001:db8::1\n}", ""},
		{"ddr", "want one name, which is in the certificate"},
		{"ddr a b", "want one name"},
		{"ddr 192.0.2.1", "is an address: want the name that is in the certificate"},
		{"ddr *.example.org", "is not the name of a resolver"},
		{"ddr a {\n adresses 192.0.2.1\n}", `unknown property "adresses": want addresses`},
		{"ddr a {\n addresses dns.example.org\n}", "want addresses of this machine"},
		{"ddr a {\n addresses\n}", "want at least one address"},
		{"ddr a\nddr b", plugin.ErrOnce.Error()},
	} {
		_, err := parse(caddy.NewTestController("dns", c.corefile))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.corefile, err, c.want)
		}
	}
}
