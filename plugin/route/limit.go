package route

import (
	"errors"
	"hash/maphash"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// The defaults of new_addresses. A page brings some hundred new addresses, a morning of
// an office behind one address some thousands; a set holds 65,536 for an hour at least.
const (
	defaultPerMinute = 600
	defaultAtOnce    = 3000
)

// errLimit is what a client gets that brings in too many new addresses.
var errLimit = errors.New("the client brings in more new addresses than new_addresses allows")

// limitCells is how many clients are told apart. Two that share a cell by chance share
// what is allowed; nobody can choose to share one with somebody else.
const limitCells = 1 << 14

// limit bounds how many addresses that are new to the sets one client brings in, so
// that a flood of fresh names fills no set for all others. It is a leaky bucket for each
// client of which only the time is kept at which it is empty again (GCRA, ITU-T I.371).
// Its memory is fixed, and it takes no lock.
type limit struct {
	each  int64 // nanoseconds that one address takes to leak
	most  int64 // nanoseconds that the bucket holds
	start time.Time
	seed  maphash.Seed
	cells []atomic.Int64 // by client: when its bucket is empty, in nanoseconds since start
}

// newLimit allows atOnce addresses, and perMinute more each minute; both above 0.
func newLimit(perMinute, atOnce int) *limit {
	each := int64(time.Minute) / int64(perMinute)
	return &limit{each: each, most: each * int64(atOnce), start: time.Now(), seed: maphash.MakeSeed(), cells: make([]atomic.Int64, limitCells)}
}

// allow takes n new addresses of a client into account, or reports false where they are
// too many. An answer with more of them than are ever allowed at once counts as full.
func (l *limit) allow(client netip.Addr, n int) bool {
	return l.allowAt(int64(time.Since(l.start)), client, n)
}

func (l *limit) allowAt(now int64, client netip.Addr, n int) bool {
	cell := &l.cells[maphash.Comparable(l.seed, client)%limitCells]
	cost := min(int64(n)*l.each, l.most)
	for {
		old := cell.Load()
		next := max(old, now) + cost
		if next-now > l.most {
			return false
		}
		if cell.CompareAndSwap(old, next) {
			return true
		}
	}
}

// clientOf is who is counted: an IPv4 address, or the /64 of an IPv6 one, of which a
// host has as many as it likes. Invalid is nobody: the box itself, behind whose own
// address other programs may ask for the whole LAN.
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
