package route

import (
	"context"
	"fmt"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/limit"
)

// TestLimitedClient: one client's flood of fresh names is bounded, what is known goes
// on for it, and another client notices nothing.
func TestLimitedClient(t *testing.T) {
	f := &fake{v6: true, fresh: 1}
	r := &Route{to: f, limit: limit.New(limit.Rate{PerMinute: 60, AtOnce: 3})}
	ask := func(client string, i int) int {
		rec := dnstest.NewRecorder(&test.ResponseWriter{RemoteIP: client})
		r.Next = answering(message(t, dns.TypeA, fmt.Sprintf("n%d.example.org. 60 IN A 30.0.0.%d", i, i)))
		q := new(dns.Msg)
		q.SetQuestion(fmt.Sprintf("n%d.example.org.", i), dns.TypeA)
		if _, err := r.ServeDNS(context.Background(), rec, q); err != nil {
			t.Fatal(err)
		}
		return rec.Msg.Rcode
	}
	for i := range 10 {
		want := dns.RcodeSuccess
		if i >= 3 {
			want = dns.RcodeServerFailure
		}
		if got := ask("192.168.1.10", i); got != want {
			t.Errorf("answer %d: %s", i, dns.RcodeToString[got])
		}
	}
	if len(f.learned) != 3 {
		t.Errorf("learned %v", f.learned)
	}
	if got := ask("192.168.1.11", 1); got != dns.RcodeSuccess {
		t.Errorf("another client: %s", dns.RcodeToString[got])
	}
	f.fresh = 0
	if got := ask("192.168.1.10", 1); got != dns.RcodeSuccess {
		t.Errorf("an address that is in the sets: %s", dns.RcodeToString[got])
	}
}

func TestParseNewAddresses(t *testing.T) {
	for _, c := range []struct {
		in, want string
	}{
		{"route vpn", "{600 3000}"},
		{"route vpn {\n new_addresses 60\n}", "{60 3000}"},
		{"route vpn {\n new_addresses 9000\n}", "{9000 9000}"},
		{"route vpn {\n new_addresses 60 10\n}", "{60 10}"},
		{"route vpn {\n new_addresses off\n}", "{0 0}"},
		{"route vpn {\n new_addresses 0\n}", `Testfile:2 - Error during parsing: new_addresses "0": want how many one client may bring in a minute and, if you like, at once (1 to 1000000), or off`},
		{"route vpn {\n new_addresses 1 2 3\n}", `Testfile:2 - Error during parsing: new_addresses "1 2 3": want how many one client may bring in a minute and, if you like, at once (1 to 1000000), or off`},
		{"route vpn {\n new_addresses\n}", `Testfile:2 - Error during parsing: new_addresses "": want how many one client may bring in a minute and, if you like, at once (1 to 1000000), or off`},
		{"route vpn {\n new_adresses 5\n}", `Testfile:2 - Error during parsing: unknown property "new_adresses": want config, set, on_error or new_addresses`},
	} {
		d, err := parse(caddy.NewTestController("dns", c.in))
		got := fmt.Sprint(d.limit)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.in, got, c.want)
		}
	}
}
