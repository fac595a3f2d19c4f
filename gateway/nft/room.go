package nft

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Full tells that a set could not take what was to be learned.
type Full struct {
	Set  SetRef
	Size int // elements that fit
	Room int // elements that were taken out for new ones; 0: new ones are refused for a while
}

// leastRoom is how many elements are taken out at least, if there are so many: each
// time that a set is found full stops all writers for 16 ms.
const leastRoom = 64

// nearEnd is how close to its end an element is left to end by itself: if it ended
// first, its deletion would fail the transaction.
const nearEnd = 100 * time.Millisecond

// full answers the kernel's refusal of more elements. It makes room, or, where there
// is none to make or was just now, has the set left in peace for a while: the kernel
// collects expired elements only then. It reports whether sending again makes sense.
func (k *Kernel) full(s *learned) bool {
	now := k.clock.now()
	if s.paused > now {
		return false
	}
	room := 0
	if s.roomy <= now {
		room = k.makeRoom(s)
	}
	if room > 0 {
		s.roomy = now + int64(fullPause)
	} else {
		s.paused = now + int64(fullPause)
	}
	if k.options.OnFull != nil {
		k.options.OnFull(Full{Set: s.ref, Size: s.size, Room: room})
	}
	return true
}

// makeRoom deletes elements that nobody relies on any more, those that end first
// before others. An answer is served only when its elements outlive it by more than
// Options.Spare; so what ends sooner than that is in no answer that is still valid.
// Other programs' tables are left alone.
func (k *Kernel) makeRoom(s *learned) int {
	if k.options.Spare == nil || !k.isOurs(s.ref) {
		return 0
	}
	wanted := k.gather.wanted[s]
	now := k.clock.now()
	var idle []held
	s.ends.Range(func(a netip.Addr, end int64) bool {
		if _, ok := wanted[a]; !ok && end > now+int64(nearEnd) && end < now+int64(k.options.Spare()) {
			idle = append(idle, held{a, end})
		}
		return true
	})
	slices.SortFunc(idle, func(a, b held) int { return cmp.Compare(a.end, b.end) })
	idle = idle[:min(len(idle), max(leastRoom, len(wanted)), maxPerMessage)]
	if len(idle) == 0 {
		return 0
	}
	elems := make([]element, len(idle))
	for i, h := range idle {
		elems[i] = element{key: h.addr}
		s.ends.Delete(h.addr)
	}
	b := k.begin()
	for _, ref := range s.refs {
		b.elements(unix.NFT_MSG_DELSETELEM, ref, s, elems)
	}
	if err := k.sock.transact(b); err != nil {
		return 0 // they are learned again, or end: the pause that follows is enough
	}
	return len(idle)
}
