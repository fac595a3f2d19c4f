package route

import (
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// The defaults of new_addresses. A page adds some hundred new addresses, a morning of an
// office behind one address some thousands; a set has 65,536 for an hour at least.
const (
	defaultPerMinute = 600
	defaultAtOnce    = 3000
)

// errLimit is returned for a client that adds too many new addresses.
var errLimit = errors.New("the client adds more new addresses than new_addresses allows")

// limitBuckets is how many clients are told apart. Two that share a bucket by chance share
// what is allowed; a client cannot choose with which other one.
const limitBuckets = 1 << 14

// limit bounds how many addresses that are new to the sets one client adds, so that a flood
// of fresh names does not fill a set for all others. It is a leaky bucket for each client,
// stored as the time at which it is empty again (GCRA, ITU-T I.371). Its memory is fixed,
// and it takes no lock.
type limit struct {
	each    int64 // nanoseconds in which one address leaks
	most    int64 // nanoseconds in which a full bucket leaks
	start   time.Time
	seed    maphash.Seed
	buckets []atomic.Int64 // by client: when it is empty, in nanoseconds since start
}

// newLimit returns a limit of atOnce addresses, and perMinute more each minute; both are
// above 0.
func newLimit(perMinute, atOnce int) *limit {
	each := int64(time.Minute) / int64(perMinute)
	return &limit{each: each, most: each * int64(atOnce), start: time.Now(), seed: maphash.MakeSeed(), buckets: make([]atomic.Int64, limitBuckets)}
}

// allow counts n new addresses of a client, or returns false where they are too many. An
// answer with more of them than are ever allowed at once counts as a full bucket.
func (l *limit) allow(client netip.Addr, n int) bool {
	return l.allowAt(int64(time.Since(l.start)), client, n)
}

func (l *limit) allowAt(now int64, client netip.Addr, n int) bool {
	bucket := &l.buckets[maphash.Comparable(l.seed, client)%limitBuckets]
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

// clientOf returns the client to count: an IPv4 address, or the /64 of an IPv6 one, of which
// a host can have any number. It is invalid for the box itself, which is not limited: other
// programs may forward the queries of the whole LAN from its address.
func clientOf(from net.Addr) netip.Addr {
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
