package leases

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestLabelOf(t *testing.T) {
	long := strings.Repeat("a", 63)
	for hostname, want := range map[string]string{
		"printer": "printer", "Printer": "printer", "printer.lan": "printer", "PRINTER.LAN.": "printer", "printer.": "printer",
		"ESP_12AB": "esp_12ab", "x": "x", "2nd-tv": "2nd-tv", long: long, "xn--mnchen-3ya": "xn--mnchen-3ya",
		"": "", ".": "", "lan": "", "lan.": "", ".lan": "", "a.b.lan": "", "printer.office": "", "printer.lan.office.": "", "*": "",
		"wpad": "", "WPAD.lan": "", "isatap": "", "localhost": "", "localhost.lan.": "", "onion": "",
		"-tv": "", "tv-": "", "_tv": "", "tv_": "", "a b": "", "tv;x": "", "tv\x00": "", "münchen": "", `a\.b`: "", long + "a": "",
	} {
		if got := labelOf(hostname, ".lan."); got != want {
			t.Errorf("%q: %q, want %q", hostname, got, want)
		}
	}
	if got := labelOf("tv.home.arpa", ".home.arpa."); got != "tv" {
		t.Errorf("below a domain of two labels: %q", got)
	}
}

func TestAddressOf(t *testing.T) {
	for _, addr := range []string{"192.168.1.50", "0.0.0.0", "255.255.255.255", "10.0.0.1", "fd00::50", "2001:db8:1:2:3:4:5:6", "::", "fe80::ffff:ffff:ffff:ffff"} {
		reverse, err := dns.ReverseAddr(addr)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := addressOf(reverse); !ok || got != netip.MustParseAddr(addr) {
			t.Errorf("%s: %v, %v", reverse, got, ok)
		}
	}
	for _, qname := range []string{
		"in-addr.arpa.", "1.168.192.in-addr.arpa.", "256.1.168.192.in-addr.arpa.", "01.1.168.192.in-addr.arpa.", "x.1.168.192.in-addr.arpa.",
		"1.2.1.168.192.in-addr.arpa.", ".1.168.192.in-addr.arpa.", "0.0.ip6.arpa.", strings.Repeat("0.", 33) + "ip6.arpa.",
		"g." + strings.Repeat("0.", 31) + "ip6.arpa.", strings.Repeat("00", 31) + "0.ip6.arpa.", "www.example.",
	} {
		if got, ok := addressOf(qname); ok {
			t.Errorf("%s: %v", qname, got)
		}
	}
}

func FuzzAddressOf(f *testing.F) {
	f.Add("50.1.168.192.in-addr.arpa.")
	f.Add("1." + strings.Repeat("0.", 31) + "ip6.arpa.")
	f.Fuzz(func(t *testing.T, qname string) {
		addr, ok := addressOf(qname)
		if !ok {
			return
		}
		if back, err := dns.ReverseAddr(addr.String()); addr.Is4() && (err != nil || back != qname) {
			t.Errorf("%q: %v, whose reverse name is %q", qname, addr, back)
		}
	})
}
