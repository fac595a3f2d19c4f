package listed

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestAddressOf(t *testing.T) {
	for _, s := range []string{"30.128.0.255", "1.2.3.4", "2a0f:aa::1", "2001:db8:1234:5678:9abc:def0:1234:5678"} {
		name, err := dns.ReverseAddr(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{name, strings.ToUpper(name)} {
			if a, ok := addressOf(q); !ok || a != netip.MustParseAddr(s) {
				t.Errorf("%s: %v, %v", q, a, ok)
			}
		}
	}
	v6, _ := dns.ReverseAddr("2a0f:aa::1")
	for _, q := range []string{
		".", "arpa.", "in-addr.arpa.", "3.2.1.in-addr.arpa.", "5.4.3.2.1.in-addr.arpa.", "256.3.2.1.in-addr.arpa.", "x.3.2.1.in-addr.arpa.",
		"4.3.2.1.in-addr.arpa.example.", "4.0/25.3.2.1.in-addr.arpa.", "01.2.3.4.in-addr.arpa.", v6[2:], "0." + v6, "g" + v6[1:], "\x10" + v6[1:], strings.Replace(v6, ".", "-", 1), "ip6.arpa.", "xin-addr.arpa.",
	} {
		if a, ok := addressOf(q); ok {
			t.Errorf("%q: %v", q, a)
		}
	}
	if n := testing.AllocsPerRun(100, func() { addressOf(v6); addressOf("4.3.2.1.in-addr.arpa."); addressOf("www.example.org.") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
