// Package limit bounds what one client of the resolver brings in: addresses that are new to
// the sets of a route, and aliases.
package limit

import (
	"hash/maphash"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// numBuckets is how many clients are told apart. Two that share a bucket by chance share
// what is allowed; a client cannot choose with which other one.
const numBuckets = 1 << 14

// Limit bounds how much that is new one client adds, so that a flood of fresh names does not
// fill what all share. It is a leaky bucket for each client, stored as the time at which it
// is empty again (GCRA, ITU-T I.371). Its memory is fixed, and it takes no lock. A nil Limit
// allows everything.
type Limit struct {
	each    int64 // nanoseconds in which one leaks
	most    int64 // nanoseconds in which a full bucket leaks
	start   time.Time
	seed    maphash.Seed
	buckets []atomic.Int64 // by client: when it is empty, in nanoseconds since start
}

// New returns a limit of atOnce, and perMinute more each minute; both are above 0.
func New(perMinute, atOnce int) *Limit {
	each := int64(time.Minute) / int64(perMinute)
	return &Limit{each: each, most: each * int64(atOnce), start: time.Now(), seed: maphash.MakeSeed(), buckets: make([]atomic.Int64, numBuckets)}
}

// Allow counts n that are new, of a client, or returns false where they are too many. An
// answer with more of them than are ever allowed at once counts as a full bucket. An invalid
// client has no limit: see Client.
func (l *Limit) Allow(client netip.Addr, n int) bool {
	if l == nil || !client.IsValid() || n == 0 {
		return true
	}
	return l.allowAt(int64(time.Since(l.start)), client, n)
}

func (l *Limit) allowAt(now int64, client netip.Addr, n int) bool {
	bucket := &l.buckets[maphash.Comparable(l.seed, client)%numBuckets]
	cost := min(int64(n)*l.each, l.most)
	for {
		old := bucket.Load()
		next := max(old, now) + cost
		if next-now > l.most {
			return false
		}
		if bucket.CompareAndSwap(old, next) {
			return true
		}
	}
}

// Client returns the client to count: an IPv4 address, or the /64 of an IPv6 one, of which
// a host can have any number. It is invalid for the box itself, which is not limited: other
// programs may forward the queries of the whole LAN from its address.
func Client(from net.Addr) netip.Addr {
	ap, ok := from.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.Addr{}
	}
	a := ap.AddrPort().Addr().Unmap()
	switch {
	case a.IsLoopback():
		return netip.Addr{}
	case a.Is6():
		p, err := a.WithZone("").Prefix(64)
		if err != nil {
			return netip.Addr{}
		}
		return p.Addr()
	}
	return a
}
