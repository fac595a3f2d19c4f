package dataplane

import (
	"net/netip"
	"sync"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// meter counts what a route learned in the last minute, by the second. It is used
// after the kernel was asked, which costs far more than its lock.
type meter struct {
	mu      sync.Mutex
	seconds [60]struct {
		at     int64 // Unix time; older ones are of an earlier minute
		v4, v6 int
	}
}

// count counts addresses.
func (m *meter) count(now time.Time, addrs []netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.seconds[now.Unix()%60]
	if s.at != now.Unix() {
		s.at, s.v4, s.v6 = now.Unix(), 0, 0
	}
	for _, a := range addrs {
		if gateway.FamilyOf(a) == gateway.V4 {
			s.v4++
		} else {
			s.v6++
		}
	}
}

// perMinute returns what was counted in the last 60 seconds.
func (m *meter) perMinute(now time.Time) (v4, v6 int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.seconds {
		if age := now.Unix() - s.at; age >= 0 && age < 60 {
			v4, v6 = v4+s.v4, v6+s.v6
		}
	}
	return v4, v6
}

// meter returns the meter of a route.
func (c *Controller) meter(route string) *meter {
	if m, ok := c.meters.Load(route); ok {
		return m.(*meter)
	}
	m, _ := c.meters.LoadOrStore(route, new(meter))
	return m.(*meter)
}
