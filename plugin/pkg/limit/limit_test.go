package limit

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/neighbour"
)

func TestLimit(t *testing.T) {
	l := New(Rate{60, 10}) // one a second
	l.hostOf = func(a netip.Addr) neighbour.Host { return neighbour.Host{Link: int(a.AsSlice()[0])} }
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
		if got := l.allowAt(c.at, c.client, c.client, c.n, false); got != c.want {
			t.Errorf("step %d: %d new addresses at %v: %v", i, c.n, time.Duration(c.at), got)
		}
	}
}

// A host that sends from many addresses adds no more than some clients, in the long run than
// one; other hosts of the link notice nothing, in IPv6 not even those of the same /64. All for
// whom no host answers count as one.
func TestHosts(t *testing.T) {
	l := New(Rate{600, 3000})
	hosts := map[netip.Addr]neighbour.Host{}
	l.hostOf = func(a netip.Addr) neighbour.Host { return hosts[a] }
	hostNumber := func(n byte) neighbour.Host {
		return neighbour.Host{Link: 2, MAC: [8]byte{n}, Known: true}
	}
	client := func(a netip.Addr) netip.Addr { return Client(net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 1))) }
	for _, base := range []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("fd00:1::1")} {
		for _, host := range []neighbour.Host{hostNumber(1), {Link: 2}} {
			allowed := 0
			now := int64(base.AsSlice()[0]) * int64(240*time.Hour)
			for minute := range 60 {
				for range 200 {
					base = base.Next()
					hosts[base] = host
					if l.allowAt(now+int64(minute)*int64(time.Minute), client(base), base, 256, false) {
						allowed += 256
					}
				}
			}
			if most := 4*3000 + 60*600 + 256; allowed > most || allowed < 3000 {
				t.Errorf("one host, known: %t, from 12,000 addresses like %s added %d in an hour, want at most %d", host.Known, base, allowed, most)
			}
			honest := base.Next()
			base = honest
			hosts[honest] = hostNumber(2)
			if now += int64(59 * time.Minute); !l.allowAt(now, client(honest), honest, 256, false) {
				t.Errorf("%s, of another host, is refused", honest)
			}
		}
	}
}

// The kernel is not asked about an address that is over its own limit.
func TestOwnLimitComesFirst(t *testing.T) {
	for _, a := range []netip.Addr{netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("fd00:1::10"), netip.MustParseAddr("fe80::10%lan0")} {
		l := New(Rate{60, 10})
		asked := 0
		l.hostOf = func(netip.Addr) neighbour.Host { asked++; return neighbour.Host{Link: 2} }
		client := Client(net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 1)))
		for range 100 {
			l.allowAt(0, client, a, 1, false)
		}
		if asked != 10 {
			t.Errorf("%s: the kernel was asked %d times for 10 that are allowed and 90 that are not", a, asked)
		}
	}
}

// Where what all share is nearly full, what is left is for those who add little.
func TestCrowded(t *testing.T) {
	l := New(Rate{600, 3000})
	l.hostOf = func(a netip.Addr) neighbour.Host { return neighbour.Host{Link: int(a.AsSlice()[3])} }
	heavy, light := netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("192.168.1.11")
	for _, c := range []struct {
		client  netip.Addr
		n       int
		crowded bool
		want    bool
	}{
		{heavy, 301, false, true}, {heavy, 1, true, false}, {heavy, 1, false, true},
		{light, 299, true, true}, {light, 1, true, true}, {light, 1, true, false},
	} {
		if got := l.allowAt(0, c.client, c.client, c.n, c.crowded); got != c.want {
			t.Errorf("%s adds %d, crowded: %t: %t, want %t", c.client, c.n, c.crowded, got, c.want)
		}
	}
}

// TestLimitConcurrently: many queries of one client at once get no more than is allowed.
func TestLimitConcurrently(t *testing.T) {
	l := New(Rate{1, 1000})
	l.hostOf = func(netip.Addr) neighbour.Host { return neighbour.Host{} }
	var wg sync.WaitGroup
	var mu sync.Mutex
	allowed := 0
	for range 20 {
		wg.Go(func() {
			for range 100 {
				if l.allowAt(0, netip.MustParseAddr("192.168.1.10"), netip.MustParseAddr("192.168.1.10"), 1, false) {
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
