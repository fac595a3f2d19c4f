package nft

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"
)

// forever is the end of an element that has no timeout.
const forever = int64(math.MaxInt64)

// clock counts nanoseconds of monotonic time, as the kernel's timeouts do.
type clock struct{ start time.Time }

func (c clock) now() int64 { return int64(time.Since(c.start)) }

// learned is what we know of one set that we learn into: until when each element
// lives. It is read without locks by every answer, and written by the owner
// goroutine alone. It is what is put back after a loss. Expired elements make no
// events, so entries are collected by forgetExpired, too.
type learned struct {
	ref  SetRef
	refs []SetRef // the kernel's sets that hold the elements: ref, and its twin where there is one; owner only
	size int      // elements that fit; 0 is without a limit; owner only

	// live says that the kernel's set holds what ends says. The watch clears it
	// the moment that it sees the set go, and answers then wait for the owner.
	live atomic.Bool
	ends *xsync.Map[netip.Addr, int64] // in the clock's nanoseconds

	there  bool  // the kernel's set exists, complete or not; owner only
	paused int64 // until when no new elements are tried, because the set was full; owner only
	roomy  int64 // until when no more room is made in it; owner only
}

func newLearned(ref SetRef) *learned {
	return &learned{ref: ref, refs: []SetRef{ref}, ends: xsync.NewMap[netip.Addr, int64]()}
}

// lives reports whether an element is in the kernel at least until then.
func (s *learned) lives(a netip.Addr, until int64) bool {
	end, ok := s.ends.Load(a)
	return ok && end >= until && s.live.Load()
}

// forgetExpired drops what the kernel has dropped.
func (s *learned) forgetExpired(now int64) {
	s.ends.DeleteMatching(func(_ netip.Addr, end int64) (del, stop bool) { return end <= now, false })
}

// held is an element that is still to live.
type held struct {
	addr netip.Addr
	end  int64
}

// held lists what lives, with the first n the hottest: those that end last were
// learned or prolonged last and are most likely to be in use. Neither part is sorted.
// Elements without a timeout were put there by others, and are theirs to put back.
// More than the set can hold is forgotten.
func (s *learned) held(now int64, n int) []held {
	all := make([]held, 0, s.ends.Size())
	s.ends.Range(func(a netip.Addr, end int64) bool {
		if end > now && end != forever {
			all = append(all, held{a, end})
		}
		return true
	})
	if s.size > 0 && len(all) > s.size {
		latest(all, s.size)
		for _, h := range all[s.size:] {
			s.ends.Delete(h.addr)
		}
		all = all[:s.size]
	}
	latest(all, n)
	return all
}

// latest moves the n elements that end last to the front, in linear time (Hoare's
// selection): after a loss every millisecond counts, and an order does not.
func latest(all []held, n int) {
	for n > 0 && n < len(all) {
		pivot := all[len(all)/2].end
		i, j := 0, len(all)-1
		for i <= j {
			for all[i].end > pivot {
				i++
			}
			for all[j].end < pivot {
				j--
			}
			if i <= j {
				all[i], all[j] = all[j], all[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case n <= j:
			all = all[:j+1]
		case n >= i:
			all, n = all[i:], n-i
		default:
			return // those between are equal
		}
	}
}

// note records an element that the kernel reported: dumped, or added by somebody else.
func (s *learned) note(e element, now int64) {
	switch {
	case e.timeout == 0:
		s.ends.Store(plain(e.key), forever)
	case e.expires == 0: // an event of an element that was just added
		s.ends.Store(plain(e.key), now+int64(e.timeout))
	default:
		s.ends.Store(plain(e.key), now+int64(e.expires))
	}
}
