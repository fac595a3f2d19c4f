package limit

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func TestLimit(t *testing.T) {
	l := New(Rate{60, 10}) // one a second
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
	l := New(Rate{1, 1000})
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
		if got := Client(a).String(); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
		if got := Client(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))).String(); got != want {
			t.Errorf("%s by TCP: %s, want %s", from, got, want)
		}
	}
	if Client(&net.UnixAddr{Name: "/x"}).IsValid() {
		t.Error("a Unix socket is a client")
	}
}
