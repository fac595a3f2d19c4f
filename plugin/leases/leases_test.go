package leases

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

const passedOn = "passed on"

// ask returns the answer in one line, or that it is passed on.
func ask(t *testing.T, l *Leases, qname string, qtype uint16) string {
	t.Helper()
	l.Next = plugin.HandlerFunc(func(_ context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		return dns.RcodeSuccess, w.WriteMsg(new(dns.Msg).SetRcode(r, dns.RcodeRefused))
	})
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	if _, err := l.ServeDNS(context.Background(), rec, new(dns.Msg).SetQuestion(qname, qtype)); err != nil {
		t.Fatal(err)
	}
	m := rec.Msg
	if m.Rcode == dns.RcodeRefused {
		return passedOn
	}
	if !m.Authoritative || !m.Response {
		t.Errorf("%s: flags %v", qname, m.MsgHdr)
	}
	words := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		h := rr.Header()
		words = append(words, fmt.Sprintf("%s %d %s", h.Name, h.Ttl, strings.TrimPrefix(rr.String(), h.String())))
	}
	for _, rr := range m.Ns {
		words = append(words, "SOA "+rr.Header().Name)
	}
	return strings.Join(words, " | ")
}

// shelf is a plugin with the files' texts, at a time.
func shelf(t *testing.T, at int64, texts ...string) *Leases {
	t.Helper()
	var paths []string
	for i, text := range texts {
		paths = append(paths, filepath.Join(t.TempDir(), fmt.Sprint("leases", i)))
		if err := os.WriteFile(paths[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := newLeases("lan.", paths, false)
	l.now = func() time.Time { return time.Unix(at, 0) }
	l.read()
	return l
}

func TestAnswers(t *testing.T) {
	l := shelf(t, 1999999996, dnsmasqFile)
	tests := []struct {
		qname string
		qtype uint16
		want  string
	}{
		{"printer.lan.", dns.TypeA, "NOERROR | printer.lan. 4 192.168.1.50"},
		{"Printer.LAN.", dns.TypeA, "NOERROR | Printer.LAN. 4 192.168.1.50"},
		{"printer.", dns.TypeA, "NOERROR | printer. 4 192.168.1.50"},
		{"nas.lan.", dns.TypeA, "NOERROR | nas.lan. 10 192.168.1.51"},
		{"noclock.", dns.TypeA, "NOERROR | noclock. 10 192.168.1.54"},
		{"nas.lan.", dns.TypeAAAA, "NOERROR | SOA lan."},
		{"nas.", dns.TypeHTTPS, "NOERROR | SOA lan."},
		{"nas.", dns.TypeDS, passedOn},
		{"nas.", dns.TypeNS, passedOn},
		{"ended.lan.", dns.TypeA, "NXDOMAIN | SOA lan."},
		{"ended.", dns.TypeA, passedOn},
		{"wpad.lan.", dns.TypeA, "NXDOMAIN | SOA lan."},
		{"wpad.", dns.TypeA, passedOn},
		{"unknown.lan.", dns.TypeA, "NXDOMAIN | SOA lan."},
		{"a.printer.lan.", dns.TypeA, "NXDOMAIN | SOA lan."},
		{"lan.", dns.TypeA, "NOERROR | SOA lan."},
		{"lan.", dns.TypeNS, "NOERROR | lan. 10 lan."},
		{"lan.", dns.TypeDS, passedOn},
		{"printer.lan.example.", dns.TypeA, passedOn},
		{"xlan.", dns.TypeA, passedOn},
		{".", dns.TypeA, passedOn},
		{"50.1.168.192.in-addr.arpa.", dns.TypePTR, "NOERROR | 50.1.168.192.in-addr.arpa. 4 printer.lan."},
		{"50.1.168.192.IN-ADDR.arpa.", dns.TypeTXT, "NOERROR | SOA 50.1.168.192.IN-ADDR.arpa."},
		{"52.1.168.192.in-addr.arpa.", dns.TypePTR, passedOn},
		{"55.1.168.192.in-addr.arpa.", dns.TypePTR, passedOn},
		{"1.168.192.in-addr.arpa.", dns.TypePTR, passedOn},
	}
	for _, c := range tests {
		if got := ask(t, l, c.qname, c.qtype); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.qname, dns.TypeToString[c.qtype], got, c.want)
		}
	}
	for qname, qtype := range map[string]uint16{"printer.lan.": dns.TypeAAAA, "printer.": dns.TypeAAAA} {
		got := ask(t, l, qname, qtype)
		if !strings.Contains(got, " fd00::50") || !strings.Contains(got, " fd00::51") {
			t.Errorf("%s: %s, want both addresses of the client", qname, got)
		}
	}
	six, _ := dns.ReverseAddr("fd00::50")
	if got := ask(t, l, six, dns.TypePTR); got != "NOERROR | "+six+" 4 printer.lan." {
		t.Errorf("%s: %s", six, got)
	}
	chaos := new(dns.Msg).SetQuestion("printer.", dns.TypeA)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	if l.answer(chaos) != nil {
		t.Error("class CH is answered")
	}
	l.Fall.SetZonesFromArgs(nil)
	for _, qname := range []string{"unknown.lan.", "lan."} {
		if got := ask(t, l, qname, dns.TypeA); got != passedOn {
			t.Errorf("with fallthrough %s: %s", qname, got)
		}
	}
}

// Leases end while the files stay unchanged.
func TestLeasesEnd(t *testing.T) {
	l := shelf(t, 1999999999, dnsmasqFile)
	if got := ask(t, l, "printer.", dns.TypeA); got != "NOERROR | printer. 1 192.168.1.50" {
		t.Error(got)
	}
	l.now = func() time.Time { return time.Unix(2000000000, 0) }
	for qname, want := range map[string]string{"printer.": passedOn, "printer.lan.": "NXDOMAIN | SOA lan.", "50.1.168.192.in-addr.arpa.": passedOn} {
		if got := ask(t, l, qname, dns.TypePTR); got != want {
			t.Errorf("%s: %s, want %s", qname, got, want)
		}
	}
}

// Of two clients with one name the newer lease has it.
func TestTwoOfOneName(t *testing.T) {
	a := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	b := newBook([]entry{
		{a("10.0.0.1"), "tv", "", 100, 900},
		{a("10.0.0.2"), "tv", "", 200, 800},
		{a("10.0.0.3"), "tv", "", 300, 500}, // over
		{a("fd00::1"), "tv", "old", 100, 900},
		{a("fd00::2"), "tv", "new", 200, 900},
		{a("fd00::3"), "tv", "new", 210, 900},
		{a("fd00::4"), "nas", "", 100, 900},
		{a("fd00::5"), "nas", "", 200, 900},
		{a("10.0.0.9"), "box", "", 100, 900}, // of two files
		{a("10.0.0.9"), "moved", "", 300, 900},
	}, 600)
	got := map[string]string{}
	for n, h := range b.hosts {
		var addrs []string
		for _, a := range h.addrs {
			addrs = append(addrs, fmt.Sprint(a.addr, " ", a.expires))
		}
		got[n] = strings.Join(addrs, ", ")
	}
	want := map[string]string{"tv": "10.0.0.2 800, fd00::2 900, fd00::3 900", "nas": "fd00::5 900", "moved": "10.0.0.9 900"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if len(b.names) != 5 {
		t.Errorf("%d addresses have a name, want 5: %v", len(b.names), b.names)
	}
}

// What is not ours is passed on without an allocation.
func TestPassingOnCostsNothing(t *testing.T) {
	l := shelf(t, 1999999999, dnsmasqFile)
	for _, qname := range []string{"www.example.com.", "com.", "77.1.168.192.in-addr.arpa."} {
		r := new(dns.Msg).SetQuestion(qname, dns.TypeA)
		if n := testing.AllocsPerRun(100, func() {
			if l.answer(r) != nil {
				t.Fatal(qname)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", qname, n)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	l := newLeases("lan.", nil, false)
	l.book.Store(newBook([]entry{{netip.MustParseAddr("10.0.0.1"), "tv", "", 1, never}}, 0))
	for name, qname := range map[string]string{"hit": "tv.lan.", "miss": "www.example.com."} {
		r := new(dns.Msg).SetQuestion(qname, dns.TypeA)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.answer(r)
			}
		})
	}
}

func TestSetup(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"leases lan", ""},
		{"leases Home.Arpa /a /b {\n ttl 60\n fallthrough\n}", ""},
		{"leases lan {\n fallthrough a.lan\n}", ""},
		{"leases", "missing domain: want the domain of"},
		{"leases .", `domain ".": want the domain of`},
		{"leases /var/lib/misc/dnsmasq.leases", `domain "/var/lib/misc/dnsmasq.leases": want the domain of`},
		{"leases lan /a /a", "duplicate file /a"},
		{"leases lan {\n ttl 0\n}", `ttl "0": want seconds, 1 to 65535`},
		{"leases lan {\n ttl\n}", "ttl: want seconds"},
		{"leases lan {\n file /a\n}", `unknown property "file": want ttl or fallthrough`},
		{"leases lan\nleases office", "plugin can only be used once"},
	} {
		l, err := parse(caddy.NewTestController("dns", c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
		if err == nil && (l.suffix != "."+l.domain || len(l.files) == 0) {
			t.Errorf("%q: %+v", c.text, l)
		}
	}
}

// A changed file is seen by a notice, and a name is there at once.
func TestWatch(t *testing.T) {
	l := shelf(t, 1999999999, "")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); l.watch(ctx) }()
	defer func() { cancel(); <-ended }()
	if got := ask(t, l, "printer.", dns.TypeA); got != passedOn {
		t.Fatal(got)
	}
	if err := os.WriteFile(l.files[0].path, []byte(dnsmasqFile), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ask(t, l, "printer.", dns.TypeA) == passedOn; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a new lease is not seen")
		}
	}
}
