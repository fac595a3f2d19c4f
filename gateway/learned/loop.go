package learned

import (
	"context"
	"fmt"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
)

// run is the owner goroutine. What it calls serves requests and notices between the steps
// of something long (servePending, serveWhile), but applies no table from there: what asks
// for that is noted in drift and deferred, and comes up here.
func (s *Store) run() {
	defer close(s.stopped)
	sweep := time.NewTicker(s.options.SweepInterval)
	defer sweep.Stop()
	now := make(chan struct{})
	close(now)
	for {
		s.catchUp()
		var again chan struct{}
		if len(s.drift) > 0 || len(s.deferred) > 0 {
			again = now // but calls have their turn
		}
		select {
		case <-again:
		case r := <-s.requests:
			s.serve(r)
		case call := <-s.calls:
			call()
		case n := <-s.notices:
			s.handleNotice(n)
		case finish := <-s.readings:
			finish()
		case <-s.retry.C:
			s.drifted("seen before")
		case <-sweep.C:
			for _, set := range *s.sets.Load() {
				set.sweep(s.clock.now() - int64(s.lapsedFor()))
			}
		case <-s.closing:
			s.stop()
			return
		}
	}
}

// catchUp undoes what was noticed, and serves the requests that waited for it.
func (s *Store) catchUp() {
	switch {
	case s.table == nil:
		s.drift = nil
		if s.broken {
			s.restoreErr = s.reopen()
		}
	case s.broken:
		s.restoreErr = s.restore(append(s.drift, "netlink socket broke"))
	case len(s.drift) > 0:
		s.restoreErr = s.restore(s.drift)
	}
	s.commitDeferred()
	s.restoreErr = nil
}

// commitDeferred serves the requests that had to wait for the table.
func (s *Store) commitDeferred() {
	requests := s.deferred
	s.deferred = nil
	switch {
	case len(requests) == 0:
	case s.broken:
		answer(requests, fmt.Errorf("learn: %w", s.restoreErr))
	default:
		s.commit(requests)
	}
}

// restore makes our table what it was, with its learned elements, and tells OnLoss. What
// fails is tried again later, with growing pauses.
func (s *Store) restore(what []string) error {
	s.drift = nil
	began := time.Now()
	changes, err := s.apply(context.Background(), s.table)
	if err != nil {
		s.backoff = min(max(2*s.backoff, 50*time.Millisecond), 5*time.Second)
		s.retry.Reset(s.backoff)
	} else {
		s.backoff = 0
		s.retry.Stop()
	}
	if s.options.OnLoss != nil && (changes > 0 || err != nil) {
		s.options.OnLoss(Loss{What: what, Changes: changes, Took: time.Since(began), Err: err})
	}
	return err
}

// reopen replaces the connection after it broke.
func (s *Store) reopen() error {
	s.broken = true
	if err := s.conn.Reopen(); err != nil {
		return err
	}
	s.broken = false
	return nil
}

// drifted notes what another program did to our table.
func (s *Store) drifted(what ...string) {
	if s.table != nil {
		s.drift = append(s.drift, what...)
	}
}

// servePending serves what queued while a step was made.
func (s *Store) servePending() {
	for {
		select {
		case r := <-s.requests:
			s.serve(r)
		case n := <-s.notices:
			s.handleNotice(n)
		default:
			return
		}
	}
}

// serveWhile serves what queues while f runs, which must not touch what belongs to the
// owner goroutine.
func (s *Store) serveWhile(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	for {
		select {
		case err := <-done:
			return err
		case r := <-s.requests:
			s.serve(r)
		case n := <-s.notices:
			s.handleNotice(n)
		}
	}
}

// ensureWatch starts the watch where it is needed. An owned table cannot be touched by
// other programs, and a listener makes the kernel build an event for every element that
// is written; so there is none for it.
func (s *Store) ensureWatch() error {
	foreign := false
	for ref := range *s.sets.Load() {
		foreign = foreign || !s.isOurs(ref)
	}
	if s.watch != nil || s.nft == nil || (s.nft.Features().Mode == nft.ModeOwned && !foreign) {
		return nil
	}
	w, err := nft.NewWatch(nft.WatchOptions{
		Table: s.options.Table, Mine: s.nft.Mine, Followed: s.followed(), Notices: s.notices,
		Deleted: func(ref nft.SetRef) {
			if set := (*s.sets.Load())[ref]; set != nil {
				set.distrust()
			}
		},
	})
	if err != nil {
		return err
	}
	s.watch = w
	return nil
}

// handleNotice acts on what the watch saw.
func (s *Store) handleNotice(n nft.Notice) {
	sets := *s.sets.Load()
	if set := sets[n.Set]; set != nil {
		s.handleElements(set, n)
		return
	}
	if n.Missed {
		for _, set := range sets {
			set.distrust()
		}
		n.Table = []string{"events were lost"}
	}
	for _, ref := range n.Sets {
		if set := sets[ref]; set != nil {
			set.distrust() // it may have been restored before this was heard: read it again
		}
	}
	for ref, set := range sets {
		if !s.isOurs(ref) && !set.trusted.Load() {
			// An error means that the set is not there: its return makes an event, and
			// an answer that needs it before is told.
			_, _ = s.follow(ref)
		}
	}
	s.drifted(n.Table...)
}

// handleElements follows what other programs did to elements of a set that is learned
// into. Deletions are believed only here, on the owner goroutine, and so after all that
// was acknowledged before them.
func (s *Store) handleElements(set *set, n nft.Notice) {
	now := s.clock.now()
	for _, e := range n.Deleted {
		a := plain(e.Addr)
		set.records.Delete(a)
		if set.reading != nil {
			set.reading.deleted[a] = true
		}
	}
	for _, e := range n.Added {
		set.note(e, now)
		if set.reading != nil {
			delete(set.reading.deleted, plain(e.Addr))
		}
	}
}

func (s *Store) stopWatch() {
	if s.watch == nil {
		return
	}
	s.watch.Close()
	for w := s.watch; s.watch != nil; {
		select {
		case <-w.Done():
			s.watch = nil
		case <-s.notices: // the listener may be waiting for its notice to be taken
		}
	}
}

// stop ends the watch and closes the connection, which leaves an owned table to the next
// process.
func (s *Store) stop() {
	s.stopWatch()
	if s.nft != nil {
		_ = s.nft.Close() // there is nothing to do if this fails
	}
}
