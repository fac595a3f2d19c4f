package route

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

func TestLimit(t *testing.T) {
	l := newLimit(60, 10) // one a second
	a, b := netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("fd00:1::")
	second := int64(time.Second)
	for i, c := range []struct {
		at     int64
		client netip.Addr
		n      int
		want   bool
	}{
		{0, a, 4, true}, {0, a, 6, true}, {0, a, 1, false},
		{0, b, 10, true}, // others are not harmed
		{second - 1, a, 1, false}, {second, a, 1, true}, {second, a, 1, false},
		{5 * second, a, 5, false}, {5 * second, a, 4, true},
		{3600 * second, a, 10, true}, {3600 * second, a, 1, false}, // no more than at once is saved
		{7200 * second, b, 50, true}, {7200 * second, b, 1, false}, // an answer larger than the bucket
	} {
		if got := l.allowAt(c.at, c.client, c.n); got != c.want {
			t.Errorf("step %d: %d new addresses at %v: %v", i, c.n, time.Duration(c.at), got)
		}
	}
}

// TestLimitConcurrently: many queries of one client at once get no more than is allowed.
func TestLimitConcurrently(t *testing.T) {
	l := newLimit(1, 1000)
	var wg sync.WaitGroup
	var mu sync.Mutex
	allowed := 0
	for range 20 {
		wg.Go(func() {
			for range 100 {
				if l.allowAt(0, netip.MustParseAddr("192.168.1.10"), 1) {
					mu.Lock()
					allowed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if allowed != 1000 {
		t.Errorf("%d allowed", allowed)
	}
}

func TestClientOf(t *testing.T) {
	for from, want := range map[string]string{
		"192.168.1.10:4711": "192.168.1.10", "[::ffff:192.168.1.10]:1": "192.168.1.10", "[fd00:1::10]:1": "fd00:1::",
		"[fd00:1::11]:1": "fd00:1::", "[fe80::1%lo]:1": "fe80::", "127.0.0.1:1": "invalid IP", "[::1]:1": "invalid IP",
	} {
		a := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))
		if got := clientOf(a).String(); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
		if got := clientOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))).String(); got != want {
			t.Errorf("%s by TCP: %s, want %s", from, got, want)
		}
	}
	if clientOf(&net.UnixAddr{Name: "/x"}).IsValid() {
		t.Error("a Unix socket is a client")
	}
}

// TestLimitedClient: one client's flood of fresh names is bounded, what is known goes
// on for it, and another client notices nothing.
func TestLimitedClient(t *testing.T) {
	f := &fake{v6: true, fresh: 1}
	r := &Route{to: f, limit: newLimit(60, 3)}
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
		{"route vpn", "600 3000 false"},
		{"route vpn {\n new_addresses 60\n}", "60 3000 false"},
		{"route vpn {\n new_addresses 9000\n}", "9000 9000 false"},
		{"route vpn {\n new_addresses 60 10\n}", "60 10 false"},
		{"route vpn {\n new_addresses off\n}", "600 3000 true"},
		{"route vpn {\n new_addresses 0\n}", `Testfile:2 - Error during parsing: new_addresses "0": want how many one client may bring in a minute and, if you like, at once (1 to 1000000), or off`},
		{"route vpn {\n new_addresses 1 2 3\n}", `Testfile:2 - Error during parsing: new_addresses "1 2 3": want how many one client may bring in a minute and, if you like, at once (1 to 1000000), or off`},
		{"route vpn {\n new_addresses\n}", `Testfile:2 - Error during parsing: new_addresses "": want how many one client may bring in a minute and, if you like, at once (1 to 1000000), or off`},
		{"route vpn {\n new_adresses 5\n}", `Testfile:2 - Error during parsing: unknown property "new_adresses": want config, set, on_error or new_addresses`},
	} {
		d, err := parse(caddy.NewTestController("dns", c.in))
		got := fmt.Sprint(d.perMinute, d.atOnce, d.unlimited)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.in, got, c.want)
		}
	}
}
