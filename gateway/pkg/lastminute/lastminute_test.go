package lastminute

import (
	"net/netip"
	"testing"
	"time"
)

func TestSum(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	var m Addresses
	now := time.Unix(1_000_000, 0)
	m.Count(now, []netip.Addr{v4, v4, v6})
	m.Count(now.Add(30*time.Second), []netip.Addr{v4})
	for _, c := range []struct {
		after  time.Duration
		v4, v6 int
	}{{0, 2, 1}, {30 * time.Second, 3, 1}, {59 * time.Second, 3, 1}, {60 * time.Second, 1, 0}, {89 * time.Second, 1, 0}, {90 * time.Second, 0, 0}} {
		// What lies ahead of a clock that was put back does not count either.
		if a, b := m.Sum(now.Add(c.after)); a != c.v4 || b != c.v6 {
			t.Errorf("after %v: %d and %d, want %d and %d", c.after, a, b, c.v4, c.v6)
		}
	}
	m.Count(now.Add(60*time.Second), []netip.Addr{v6})
	if a, b := m.Sum(now.Add(60 * time.Second)); a != 1 || b != 1 {
		t.Errorf("a second that comes again: %d and %d, want 1 and 1", a, b)
	}
}
