package learned

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
)

// Full tells that a set could not take what was to be learned.
type Full struct {
	Set       nft.SetRef
	Size      int // elements that fit
	Reclaimed int // elements that were deleted for new ones; 0: new ones are refused for a while
}

const (
	// fullPause is how long a full set gets no new elements: the kernel's garbage collection gives
	// up when transactions keep coming, and a retry loop would keep the set full forever.
	fullPause = 250 * time.Millisecond
	// minReclaim is how many elements are reclaimed at least, if there are so many: each
	// time that a set is found full stops all writers for 16 ms.
	minReclaim = 64
	maxReclaim = 1000
	// nearEnd is how close to its end an element is left to expire by itself: if it
	// expired first, its deletion would fail the transaction.
	nearEnd = 100 * time.Millisecond
)

// Crowded reports whether more than three quarters of one of the sets are full.
func (s *Store) Crowded(pair *nft.SetPair) bool {
	for _, ref := range []nft.SetRef{pair.Set4, pair.Set6} {
		set := (*s.sets.Load())[ref]
		if set == nil {
			continue
		}
		if size := int(set.size.Load()); size > 0 && set.records.Size() > size/4*3 {
			return true
		}
	}
	return false
}

// handleFull answers the kernel's refusal of more elements. It reclaims some, or, where
// there are none or some were reclaimed just now, pauses the set: the kernel collects
// expired elements only then. It reports whether sending again makes sense.
func (s *Store) handleFull(set *set) bool {
	now := s.clock.now()
	if set.paused > now {
		return false
	}
	reclaimed := 0
	if set.reclaimed <= now {
		reclaimed = s.reclaim(set)
	}
	if reclaimed > 0 {
		set.reclaimed = now + int64(fullPause)
	} else {
		set.paused = now + int64(fullPause)
	}
	if s.options.OnFull != nil {
		s.options.OnFull(Full{Set: set.ref, Size: int(set.size.Load()), Reclaimed: reclaimed})
	}
	return true
}

// reclaim deletes elements that no valid answer relies on, those that end first before
// others. An answer is served only when its elements outlive it by more than
// Options.Grace; so what ends sooner than that is in no answer that is still valid. Sets
// of other tables are left alone.
func (s *Store) reclaim(set *set) int {
	if s.options.Grace == nil || !s.isOurs(set.ref) {
		return 0
	}
	wanted := s.gather.wanted[set]
	now := s.clock.now()
	grace := int64(s.options.Grace())
	var idle []held
	set.records.Range(func(a netip.Addr, r record) bool {
		if _, ok := wanted[a]; !ok && r.end > now+int64(nearEnd) && r.end < now+grace {
			idle = append(idle, held{a, r.end})
		}
		return true
	})
	slices.SortFunc(idle, func(a, b held) int { return cmp.Compare(a.end, b.end) })
	idle = idle[:min(len(idle), max(minReclaim, len(wanted)), maxReclaim)]
	if len(idle) == 0 {
		return 0
	}
	elems := make([]nft.Element, len(idle))
	for i, h := range idle {
		elems[i] = nft.Element{Addr: h.addr}
		set.records.Delete(h.addr)
	}
	if err := s.conn.Commit([]nft.Change{{Set: set.ref, Op: nft.Delete, Elems: elems}}); err != nil {
		return 0 // they are learned again, or expire: the pause that follows is enough
	}
	return len(idle)
}
