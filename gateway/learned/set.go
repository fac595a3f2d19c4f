package learned

import (
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/puzpuzpuz/xsync/v4"
)

// forever is the end of an element that has no timeout.
const forever = int64(math.MaxInt64)

// clock counts nanoseconds of monotonic time, as the kernel's timeouts do.
type clock struct{ start time.Time }

func (c clock) now() int64 { return int64(time.Since(c.start)) }

// plain is an address as sets hold it: IPv4-mapped is IPv4, and without a zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// set is what is known of one nft set that addresses are learned into. Its records are
// read without locks by every answer. They are what is put back after a loss. Expired
// elements make no events, so that records are also swept.
type set struct {
	ref      nft.SetRef
	records  *xsync.Map[netip.Addr, record]
	maxNamed int
	maxFound int

	// trusted says that the kernel's set holds what the records say. The watch clears it
	// the moment that it sees the set go, and answers then wait for the owner.
	trusted atomic.Bool
	losses  atomic.Uint64 // how often it was cleared

	size atomic.Int64 // elements that fit; 0 is without a limit

	// What follows belongs to the owner goroutine.
	writable  bool     // the kernel's set exists, complete or not
	reading   *reading // the set is being read
	paused    int64    // until when no new elements are tried, because the set was full
	reclaimed int64    // until when no more elements are reclaimed
}

func newSet(ref nft.SetRef) *set {
	return &set{ref: ref, records: xsync.NewMap[netip.Addr, record](), maxNamed: maxNamed, maxFound: maxFound}
}

// distrust has the set read again before answers rely on it.
func (s *set) distrust() {
	s.losses.Add(1)
	s.trusted.Store(false)
}

// trust has answers rely on the set, unless it was lost since losses was read.
func (s *set) trust(losses uint64) {
	s.trusted.Store(true)
	if s.losses.Load() != losses {
		s.trusted.Store(false)
	}
}

// sweep drops the records of what the kernel dropped before a time.
func (s *set) sweep(before int64) {
	s.records.DeleteMatching(func(_ netip.Addr, r record) (del, stop bool) { return r.end <= before, false })
}

// note records an element that the kernel reported: dumped, or added by another program.
// What it was learned for is only known if it was before. Of those that were not, only so
// many are: others are learned again when their names are asked for.
func (s *set) note(e nft.Element, now int64) {
	end := forever
	if e.Left > 0 {
		end = now + int64(e.Left)
	}
	s.records.Compute(plain(e.Addr), func(r record, ok bool) (record, xsync.ComputeOp) {
		if !ok && s.records.Size() >= s.maxFound {
			return r, xsync.CancelOp
		}
		if !ok || r.end <= now {
			r = record{unknown: true}
		}
		r.end, r.asked = end, max(r.asked, end)
		return r, xsync.UpdateOp
	})
}

// held is an element that has not expired.
type held struct {
	addr netip.Addr
	end  int64
}

// held lists what has not expired, with the first n the hottest: those that end last were
// learned or prolonged last and are most likely in use. Neither part is sorted. Permanent
// elements were put there by other programs, which have to put them back themselves. More
// than the set can hold is forgotten.
func (s *set) held(now int64, n int) []held {
	all := make([]held, 0, s.records.Size())
	s.records.Range(func(a netip.Addr, r record) bool {
		if r.end > now && r.end != forever {
			all = append(all, held{a, r.end})
		}
		return true
	})
	if size := int(s.size.Load()); size > 0 && len(all) > size {
		latest(all, size)
		for _, h := range all[size:] {
			s.records.Delete(h.addr)
		}
		all = all[:size]
	}
	latest(all, n)
	return all
}

// dropPermanent drops the records of permanent elements that are not present: they are not
// put back, so that no answer may rely on them.
func (s *set) dropPermanent(present map[netip.Addr]bool) {
	s.records.DeleteMatching(func(a netip.Addr, r record) (del, stop bool) { return r.end == forever && !present[a], false })
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

// elementsOf turns what is held into what the kernel is sent, with the time that is left
// now. What was prolonged meanwhile has its new time, and what was deleted is left out.
func (s *set) elementsOf(all []held, now int64) []nft.Element {
	out := make([]nft.Element, 0, len(all))
	for _, h := range all {
		if r, ok := s.load(h.addr, now); ok && r.end != forever {
			out = append(out, nft.Element{Addr: h.addr, Left: time.Duration(r.end - now)})
		}
	}
	return out
}
