// Package lastminute counts addresses of the last minute, by the second.
package lastminute

import (
	"net/netip"
	"sync"
	"time"
)

// Addresses counts addresses of each family. The zero value has counted none. Its methods
// may be called by any goroutine; they take a lock.
type Addresses struct {
	mu      sync.Mutex
	seconds [60]struct {
		at     int64 // Unix time; older ones are of an earlier minute
		v4, v6 int
	}
}

// Count counts addresses in the second of now.
func (c *Addresses) Count(now time.Time, addrs []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.seconds[now.Unix()%60]
	if s.at != now.Unix() {
		s.at, s.v4, s.v6 = now.Unix(), 0, 0
	}
	for _, a := range addrs {
		if a.Unmap().Is4() {
			s.v4++
		} else {
			s.v6++
		}
	}
}

// Sum returns what was counted in the 60 seconds before now.
func (c *Addresses) Sum(now time.Time) (v4, v6 int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seconds {
		if age := now.Unix() - s.at; age >= 0 && age < 60 {
			v4, v6 = v4+s.v4, v6+s.v6
		}
	}
	return v4, v6
}
