package learned

import (
	"context"
	"errors"
	"fmt"

	"github.com/nameroute/nameroute/gateway/nft"
	"golang.org/x/sys/unix"
)

const (
	// hotFirst is how many learned elements of each set are put back together with the
	// rules after a loss; the others follow in transactions of their own.
	hotFirst = 2500
	// maxRefill bounds the elements of one transaction that puts back learned addresses.
	maxRefill = 1000
)

// remedies is how often each remedy is tried against an error of an application. Another
// program that deletes the table again and again is met until it rests.
var remedies = map[nft.Remedy]int{nft.Reread: 30, nft.Reopen: 1, nft.Replace: 1}

// Apply makes the kernel's table equal to t and says how many objects and elements
// differed. What is right stays, learned elements always; the rules change in one
// transaction. The sets of routes that t does not have are deleted. ctx ends the waiting,
// and the work between two transactions: what is then missing is done by the next Apply.
func (s *Store) Apply(ctx context.Context, t *nft.Table) (changes int, err error) {
	var n int // not the result, which the caller has already got where ctx ended first
	err = s.do(ctx, func() (err error) {
		n, err = s.apply(ctx, t)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("apply nft table inet %s: %w", t.Name, err)
	}
	return n, nil
}

// Remove deletes our table, its replica and everything in them.
func (s *Store) Remove(ctx context.Context) error {
	return s.do(ctx, func() error {
		s.table, s.drift = nil, nil
		s.retry.Stop()
		s.untrack(func(nft.SetRef) bool { return false })
		err := s.nft.Remove()
		if errors.Is(err, nft.ErrBroken) {
			if err = s.reopen(); err == nil {
				err = s.nft.Remove()
			}
		}
		return err
	})
}

// apply is Apply on the owner goroutine. Errors are met by the one remedy that may help.
func (s *Store) apply(ctx context.Context, t *nft.Table) (changes int, err error) {
	s.applying = true
	defer func() { s.applying = false }()
	var first error // of a difference that was refused
	replace := false
	for tried := map[nft.Remedy]int{}; ; {
		if changes, err = s.applyOnce(ctx, t, replace); err == nil {
			return changes, nil
		}
		remedy := nft.RemedyFor(err)
		if remedy == nft.Replace && replace && errors.Is(err, unix.ENOENT) {
			remedy = nft.Reread // the table that was to be replaced has been deleted meanwhile
		}
		if tried[remedy]++; tried[remedy] > remedies[remedy] {
			return 0, errors.Join(first, err)
		}
		switch remedy {
		case nft.Reopen:
			if err := s.reopen(); err != nil {
				return 0, err
			}
		case nft.Replace:
			first, replace = err, true
		}
	}
}

// applyOnce makes one attempt.
func (s *Store) applyOnce(ctx context.Context, t *nft.Table, replace bool) (changes int, err error) {
	if s.broken {
		return 0, nft.ErrBroken
	}
	var part *nft.Application
	gap := false
	for part == nil || part.Partial() {
		next, err := s.nft.Begin(t, replace, part)
		if err != nil {
			return 0, err
		}
		part = next
		n, err := s.runApplication(ctx, t, part)
		gap = gap || err == nil && !part.InForce(s.table == t)
		part.Close()
		if err != nil {
			return 0, err
		}
		changes += n
	}
	s.table = t
	if gap && s.options.OnGap != nil {
		s.options.OnGap()
	}
	s.untrack(func(ref nft.SetRef) bool {
		for _, w := range t.Sets {
			if w.Timeout && w.Name == ref.Name {
				return true
			}
		}
		return false
	})
	return changes, s.ensureWatch()
}

// runApplication makes the transactions of an application, and lets requests in between.
func (s *Store) runApplication(ctx context.Context, t *nft.Table, a *nft.Application) (changes int, err error) {
	if err := s.serveWhile(a.Compare); err != nil {
		return 0, err
	}
	refills, err := s.adopt(a, t)
	if err != nil {
		return 0, err
	}
	for step := range a.Steps(refills.contents) {
		if err := ctx.Err(); err != nil && !step.Rules {
			return 0, err
		}
		if err := s.nft.Do(step); err != nil {
			return 0, err
		}
		if step.Rules {
			if err := refills.run(); err != nil {
				return 0, err
			}
		}
		if s.servePending(); s.broken {
			return 0, nft.ErrBroken
		}
	}
	return a.Changes() + refills.putBack, nil
}

// refill is what one set that is not trusted still needs.
type refill struct {
	set    *set
	losses uint64 // of the set, when it was read
	made   []held // what the set is to hold, where it is made; the hottest first
	lacks  []held // what the kernel does not have
	stays  bool   // the kernel has the set, or another copy of it, and it was read
	late   bool   // the kernel has the set and it stays: it is read when the rules are in force
}

// refills puts the learned elements back into the sets that an application makes, or finds
// without them.
type refills struct {
	*Store
	all     map[nft.SetRef]*refill
	putBack int
}

// adopt reads the sets of learned addresses that the kernel has and we do not know yet,
// before anything is written: what an earlier process left, or another program put back.
// Those that stay as they are can wait until answers wait no longer.
func (s *Store) adopt(a *nft.Application, t *nft.Table) (*refills, error) {
	r := &refills{Store: s, all: map[nft.SetRef]*refill{}}
	for _, w := range t.Sets {
		if !w.Timeout {
			continue
		}
		set := s.track(nft.SetRef{Family: "inet", Table: t.Name, Name: w.Name})
		set.size.Store(int64(w.Size))
		if set.trusted.Load() {
			continue
		}
		f := &refill{set: set, losses: set.losses.Load()}
		r.all[set.ref] = f
		if !a.Has(w.Name) { // and contents puts everything back
			if a.Partial() && s.table == nil {
				s.noteReplica(set)
			}
			continue
		}
		if f.late = a.Keeps(w.Name); f.late {
			continue
		}
		if err := s.awaitReading(f, s.read(set)); err != nil {
			return nil, err
		}
		f.stays = true
	}
	return r, nil
}

// awaitReading waits for the reading of a set of ours, and lets requests in meanwhile.
func (s *Store) awaitReading(f *refill, r *reading) (err error) {
	defer func() { f.set.reading = nil }()
	if err := s.serveWhile(func() error { <-r.done; return nil }); err != nil {
		return err
	}
	f.lacks, err = s.missing(f.set, r)
	return err
}

// noteReplica records what an earlier process left in the replica of a set. Where that
// cannot be read there is nothing in it, or the second application finds out.
func (s *Store) noteReplica(set *set) {
	replica, ok := s.nft.Replica(set.ref)
	if !ok {
		return
	}
	now := s.clock.now()
	found, _ := s.readUpTo(replica, set.maxFound, set.known)
	for _, e := range found {
		set.note(e, now)
	}
}

// contents returns what a set must hold when it is made. Where its table is not there, it
// is limited to the hot elements, because nothing is routed until the rules are back.
func (r *refills) contents(ref nft.SetRef, fresh bool) []nft.Element {
	now := r.clock.now()
	set := r.track(ref)
	f := r.all[ref]
	if f == nil {
		f = &refill{set: set, losses: set.losses.Load()}
		r.all[ref] = f
	}
	if f.made == nil {
		if !f.stays {
			set.dropPermanent(nil)
		}
		f.made = set.held(now, hotFirst)
		if len(f.lacks) > 0 { // another copy of the table lacks them
			f.lacks = f.made
		}
	}
	set.trusted.Store(false)
	first := f.made
	if fresh && len(first) > hotFirst {
		first = first[:hotFirst]
		if len(f.lacks) == 0 {
			f.lacks = f.made[hotFirst:]
		}
	}
	elems := set.elementsOf(first, now)
	r.putBack += len(elems)
	return elems
}

// run puts back what the transaction that changed the rules left out; from then on the
// sets can be trusted. Requests are served in between: the sets exist.
func (r *refills) run() error {
	readings := map[*refill]*reading{}
	for _, f := range r.all {
		if f.late {
			readings[f] = r.read(f.set)
		}
		f.set.writable = true
	}
	if !r.broken {
		r.commitDeferred()
	}
	for _, f := range r.all {
		if f.late {
			if err := r.awaitReading(f, readings[f]); err != nil {
				return err
			}
		}
		put, err := r.fill(f.set, f.lacks, r.servePending)
		r.putBack += put
		if err != nil {
			return err
		}
		f.set.trust(f.losses)
	}
	return nil
}

// fill puts elements back into a set, in parts, and calls between after each. A set that
// is full keeps what it has: what does not fit is forgotten, and learned again when its
// name is next asked for.
func (s *Store) fill(set *set, elems []held, between func()) (put int, err error) {
	for from := 0; from < len(elems); from += maxRefill {
		part := set.elementsOf(elems[from:min(from+maxRefill, len(elems))], s.clock.now())
		err := s.conn.Commit([]nft.Change{{Set: set.ref, Op: nft.Add, Elems: part}})
		switch {
		case errors.Is(err, unix.ENFILE):
			for _, e := range part {
				set.records.Delete(e.Addr)
			}
		case err != nil:
			return put, err
		default:
			put += len(part)
		}
		between()
	}
	return put, nil
}
