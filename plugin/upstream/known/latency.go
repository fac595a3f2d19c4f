package known

import (
	"sync"
	"time"
)

const (
	// newPatience is how long a resolver that has never answered is waited for before the
	// next one is asked too: it may not be there. dnsmasq asks all at
	// once in that case.
	newPatience = 100 * time.Millisecond
	// minPatience spares the next resolver the names that take the first one somewhat longer.
	minPatience = 300 * time.Millisecond
	// slowFor is how long a slow resolver is asked after the others, before it is tried again.
	slowFor = time.Minute
	// weight is the reciprocal of that of a new sample (RFC 6298, section 2.3).
	weight = 8
)

// Latency estimates how long a resolver takes, as RFC 6298, section 2 does for TCP. The zero
// value knows nothing.
type Latency struct {
	mu             sync.Mutex
	mean, variance time.Duration
	last           time.Time // of the last reply
}

// Add records a reply. After a pause the resolver is known by it alone.
func (l *Latency) Add(took time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.IsZero() || now.Sub(l.last) > slowFor {
		l.mean, l.variance = took, took/2
	} else {
		l.variance += ((took - l.mean).Abs() - l.variance) / 4
		l.mean += (took - l.mean) / weight
	}
	l.last = now
}

// Patience returns how long a reply is waited for before something more is done, at most
// limit.
func (l *Latency) Patience(limit time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.IsZero() {
		return min(newPatience, limit)
	}
	return min(max(l.mean+4*l.variance, minPatience), limit)
}

// Mean returns how long a reply takes; 0 where no recent one tells.
func (l *Latency) Mean(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.last) > slowFor {
		return 0
	}
	return l.mean
}

// Slow reports whether the resolver takes longer than limit.
func (l *Latency) Slow(limit time.Duration, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mean > limit && now.Sub(l.last) < slowFor
}
