package learned

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
	"golang.org/x/sys/unix"
)

const (
	// maxRounds bounds how often a transaction is tried again without the requests that
	// cannot succeed.
	maxRounds = 10
	// maxGather bounds the addresses of one learning transaction.
	maxGather = 1000
	// busyPause is how long the kernel's hash table of a set gets to be rid of what is
	// deleted there, each time it says that it is busy.
	busyPause = 10 * time.Millisecond
)

// request is one call of Ensure that has something to send.
type request struct {
	pair       nft.SetPair
	name       nameRef
	addrs      []netip.Addr // a copy: the caller may be gone before it is served
	need, want time.Duration
	done       chan error  // of capacity 1
	timeout    *time.Timer // of the caller
}

// gathering is what one learning transaction is made from; its memory is reused.
type gathering struct {
	requests []*request
	wanted   map[*set]map[netip.Addr]int64 // when elements shall expire
	changes  []nft.Change
}

// errDefer says that a request must wait for the table to be applied.
var errDefer = errors.New("the set is not there yet")

// serve serves a request and all that wait behind it: the batch is whatever arrived while
// the last transaction ran, so that no answer waits for a timer.
func (s *Store) serve(first *request) {
	requests, n := append(s.gather.requests[:0], first), len(first.addrs)
drain:
	for n < maxGather {
		select {
		case r := <-s.requests:
			requests, n = append(requests, r), n+len(r.addrs)
		default:
			break drain
		}
	}
	s.gather.requests = requests
	s.commit(requests)
}

// commit serves requests by one transaction. Requests that cannot succeed are answered,
// those whose set is not there yet deferred, and the rest is sent again; when that does
// not help, each is sent by itself, so that a bad request does not fail its neighbours.
func (s *Store) commit(requests []*request) {
	var err error
	for range maxRounds {
		requests = s.collect(requests)
		if len(requests) == 0 {
			return
		}
		if err = s.send(); err == nil {
			s.record(requests)
			answer(requests, nil)
			return
		}
		if errors.Is(err, nft.ErrBroken) {
			s.broken = true // from here on requests are deferred
		} else if !s.handleRefusal(err) {
			break
		}
	}
	err = fmt.Errorf("learn: %w", err)
	if len(requests) == 1 || !ofOneElement(err) {
		answer(requests, err)
		return
	}
	for _, r := range slices.Clone(requests) {
		s.commit([]*request{r})
	}
}

// ofOneElement reports whether a refusal can be one element's fault. Others hold for all
// requests, and each further try would stop every writer for 16 ms.
func ofOneElement(err error) bool {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.ERANGE, unix.EEXIST, unix.EBUSY} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func answer(requests []*request, err error) {
	for _, r := range requests {
		r.done <- err
	}
}

// collect works out what must be sent, each address once with the latest end that was
// asked for. It answers requests that cannot succeed, defers those that must wait, and
// returns the others.
func (s *Store) collect(requests []*request) []*request {
	for _, wanted := range s.gather.wanted {
		clear(wanted)
	}
	left := requests[:0]
	for _, r := range requests {
		switch err := s.want(r); {
		case errors.Is(err, errDefer):
			s.deferred = append(s.deferred, r)
		case err != nil:
			r.done <- err
		default:
			left = append(left, r)
		}
	}
	return left
}

// want adds a request's addresses to the transaction, all or none.
func (s *Store) want(r *request) error {
	now := s.clock.now()
	for _, a := range r.addrs {
		if !a.IsValid() {
			return errors.New("learn: invalid address")
		}
		p := plain(a)
		ref := *r.pair.Of(p)
		set, err := s.ready(ref)
		if err != nil {
			return fmt.Errorf("learn %s in set %s: %w", a, ref, err)
		}
		if err := s.verify(set, p); err != nil {
			return fmt.Errorf("learn %s in set %s: %w", a, ref, err)
		}
		if _, in := set.load(p, now); !in && set.paused > now {
			return fmt.Errorf("learn %s in set %s: %w", a, ref, ErrSetFull)
		}
	}
	sets := *s.sets.Load()
	for _, a := range r.addrs {
		a = plain(a)
		set := sets[*r.pair.Of(a)]
		old, in := set.records.Load(a)
		if in && old.end >= now+int64(r.need) && set.trusted.Load() {
			continue // other requests have brought it meanwhile
		}
		if in && old.end == forever {
			continue
		}
		wanted := s.gather.wanted[set]
		if wanted == nil {
			wanted = map[netip.Addr]int64{}
			s.gather.wanted[set] = wanted
		}
		wanted[a] = max(wanted[a], old.end, now+int64(r.want))
	}
	return nil
}

// ready finds the set to learn into. A set of our table takes elements as soon as it
// exists; until then requests are deferred, and the table is restored. Sets of other
// tables that are not known yet, or were lost, are read first.
func (s *Store) ready(ref nft.SetRef) (*set, error) {
	if s.broken {
		return nil, errDefer
	}
	set := (*s.sets.Load())[ref]
	if set != nil && (set.trusted.Load() || (s.applying && set.writable)) {
		return set, nil
	}
	switch {
	case set != nil && set.reading != nil && !s.isOurs(ref) && set.reading.losses == set.losses.Load():
		return set, nil
	case s.applying:
		return nil, errDefer
	case !s.isOurs(ref):
		return s.follow(ref)
	case set == nil:
		return nil, nft.ErrNoSet
	case s.restoreErr != nil:
		return nil, s.restoreErr
	}
	s.drifted("set " + ref.String() + " lost")
	return nil, errDefer
}

// send makes the transaction and sends it.
func (s *Store) send() error {
	now := s.clock.now()
	changes := s.gather.changes[:0]
	for set, wanted := range s.gather.wanted {
		if len(wanted) == 0 {
			continue
		}
		changes = slices.Grow(changes, 1)[:len(changes)+1]
		change := &changes[len(changes)-1]
		change.Set, change.Op, change.Elems = set.ref, nft.Put, change.Elems[:0]
		for a, end := range wanted {
			change.Elems = append(change.Elems, nft.Element{Addr: a, Left: time.Duration(end - now)})
		}
	}
	s.gather.changes = changes
	return s.conn.Commit(changes)
}

// record makes known what the kernel has acknowledged, before anything else happens.
func (s *Store) record(requests []*request) {
	s.commits.Add(1)
	now := s.clock.now()
	sets := *s.sets.Load()
	for _, r := range requests {
		for _, a := range r.addrs {
			a = plain(a)
			if set := sets[*r.pair.Of(a)]; set != nil {
				set.put(a, s.gather.wanted[set][a], r.name, now)
			}
		}
	}
}

// handleRefusal finds out which set a refusal is about; collect then answers or defers the
// requests for it. It reports whether sending again makes sense.
func (s *Store) handleRefusal(err error) bool {
	var r *nft.Refusal
	if !errors.As(err, &r) {
		return false
	}
	ref := r.Set
	set := (*s.sets.Load())[ref]
	if set == nil {
		return false
	}
	switch r.Errno {
	case unix.ENFILE:
		return s.handleFull(set)
	case unix.ENOENT:
		set.distrust()
		set.writable = false
		return true
	case unix.EBUSY: // many copies of one element, all but one deleted
		time.Sleep(busyPause)
		return true
	}
	return false
}
