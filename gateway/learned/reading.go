package learned

import (
	"context"
	"errors"
	"net/netip"

	"github.com/nameroute/nameroute/gateway/nft"
)

const (
	// maxFound is how many elements of a set are found by reading it, or by hearing of
	// them: the kernel takes a time for it that grows with the square. Of larger sets, what
	// is known is looked up. The others stay until they lapse, and are learned again when
	// their names are asked for.
	maxFound = 1 << 16
	// maxNoted is how many elements are recorded before requests have their turn.
	maxNoted = 2000
)

// reading is the reading of a set by a goroutine of its own. What is learned into the set
// meanwhile is written to the kernel without waiting for the end.
type reading struct {
	losses  uint64              // of the set, at the beginning
	began   int64               // what was read is as old as that
	deleted map[netip.Addr]bool // by other programs since
	elems   []nft.Element
	err     error
	done    chan struct{} // closed when elems and err are there
	ended   chan struct{} // closed by finish
}

// read begins to read a set.
func (s *Store) read(set *set) *reading {
	r := &reading{losses: set.losses.Load(), began: s.clock.now(), deleted: map[netip.Addr]bool{},
		done: make(chan struct{}), ended: make(chan struct{})}
	set.reading = r
	go func() {
		defer close(r.done)
		r.elems, r.err = s.readUpTo(set.ref, set.maxFound, set.known)
	}()
	return r
}

// known lists all addresses that may be in a set.
func (s *set) known() []netip.Addr {
	all := make([]netip.Addr, 0, s.records.Size())
	s.records.Range(func(a netip.Addr, _ record) bool { all = append(all, a); return true })
	return all
}

// missing records what a reading has found, and returns what the set lacks.
func (s *Store) missing(set *set, r *reading) ([]held, error) {
	if r.err != nil {
		return nil, r.err
	}
	present := make(map[netip.Addr]bool, len(r.elems))
	for i, e := range r.elems {
		if a := plain(e.Addr); !r.deleted[a] {
			present[a] = true
			set.note(e, r.began)
		}
		if i%maxNoted == maxNoted-1 {
			s.servePending()
		}
	}
	set.dropPermanent(present)
	lacking := set.held(s.clock.now(), 0)
	n := 0
	for _, h := range lacking {
		if !present[h.addr] {
			lacking[n] = h
			n++
		}
	}
	return lacking[:n], nil
}

// follow has a set of another table learned into, and reads it: what was learned and is not
// there is put back by finish.
func (s *Store) follow(ref nft.SetRef) (*set, error) {
	size, err := nft.ReadLearnable(ref)
	if err != nil {
		return nil, err
	}
	set := s.track(ref)
	set.size.Store(int64(size))
	// The watch must listen before the set is read, or a deletion in between is missed.
	if err := s.ensureWatch(); err != nil {
		return nil, err
	}
	if set.reading == nil {
		s.finishLater(set, s.read(set))
	}
	return set, nil
}

// finishLater has a reading that has ended finished by the owner goroutine.
func (s *Store) finishLater(set *set, r *reading) {
	go func() {
		<-r.done
		select {
		case s.readings <- func() { s.finish(set, r) }:
		case <-s.stopped:
		}
	}()
}

// finish puts back what a set of another table lacks. One that was lost meanwhile is read
// again when it is there.
func (s *Store) finish(set *set, r *reading) {
	defer close(r.ended)
	lacks, err := s.missing(set, r)
	if err == nil && set.losses.Load() == r.losses {
		_, err = s.fill(set, lacks, s.servePending)
	}
	if set.reading == r {
		set.reading = nil
	}
	switch {
	case errors.Is(err, nft.ErrBroken):
		s.broken = true
	case err == nil:
		set.trust(r.losses)
	}
	if r.err = err; set.losses.Load() != r.losses {
		// An error means that the set is not there: its return makes an event, and an
		// answer that needs it before is told.
		_, _ = s.follow(set.ref)
	}
}

// await waits until a set of another table has been read.
func (s *Store) await(ctx context.Context, r *reading) error {
	select {
	case <-r.ended:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopped:
		return ErrClosed
	}
}

// verify asks the kernel for an address of a set that is being read, of which nothing else
// is known for sure: what other programs made permanent stays so.
func (s *Store) verify(set *set, a netip.Addr) error {
	if set.reading == nil || set.trusted.Load() {
		return nil
	}
	now := s.clock.now() // before what is left to an element is found: its end is never taken for later than it is
	found, err := nft.LookUp(set.ref, []netip.Addr{a})
	if err != nil {
		return err
	}
	for _, e := range found {
		set.note(e, now)
	}
	if r, ok := set.records.Load(a); ok && r.end == forever && len(found) == 0 {
		set.records.Delete(a)
	}
	return nil
}
