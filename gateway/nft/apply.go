package nft

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// hotFirst is how many learned elements of each set are put back together with the
// rules after a loss; the others follow in transactions of their own.
const hotFirst = 2500

// Apply makes the kernel's table equal to t and says how many objects and elements
// differed. What is right stays, learned elements always; the rules change in one
// transaction. The sets of routes that t does not have are deleted. ctx ends the
// waiting, and the work between two transactions: what is then missing is done by
// the next Apply.
func (k *Kernel) Apply(ctx context.Context, t *Table) (changes int, err error) {
	var n int // not the result, which the caller has already got where ctx ended first
	err = k.do(ctx, func() (err error) {
		n, err = k.apply(ctx, t)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("apply nft table inet %s: %w", t.Name, err)
	}
	return n, nil
}

// apply is Apply on the owner goroutine. A socket that broke is replaced once; a
// difference that the kernel does not take makes the whole table anew.
func (k *Kernel) apply(ctx context.Context, t *Table) (int, error) {
	k.applying, k.changed = true, false
	defer func() {
		k.applying = false
		if k.changed {
			k.again.Reset(0)
		}
	}()
	changes, err := k.applyOnce(ctx, t, false)
	for range readAttempts {
		if !errors.Is(err, ErrNoSet) {
			break
		}
		// Somebody deleted the table while it was read: read again.
		changes, err = k.applyOnce(ctx, t, false)
	}
	if errors.Is(err, errTransport) {
		if err := k.reopen(); err != nil {
			return 0, err
		}
		changes, err = k.applyOnce(ctx, t, false)
	}
	var refused *refusal
	if errors.As(err, &refused) && refused.errno != unix.EPERM {
		var again error
		if changes, again = k.applyOnce(ctx, t, true); again != nil {
			return 0, errors.Join(err, again)
		}
		err = nil
	}
	return changes, err
}

func (k *Kernel) applyOnce(ctx context.Context, t *Table, replace bool) (int, error) {
	r, err := openReader()
	if err != nil {
		return 0, err
	}
	defer r.close()
	sides, err := k.flushed(r, t)
	if err != nil {
		return 0, err
	}
	before := 0
	if len(sides) > 0 {
		if before, err = k.carryOut(ctx, r, t, sides); err != nil {
			return 0, err
		}
	}
	// What was made just now is left out: a dump right after a bulk load misses elements.
	if sides, err = k.sides(r, t, replace, len(sides)); err != nil {
		return 0, err
	}
	changes, err := k.carryOut(ctx, r, t, sides)
	if err != nil {
		return 0, err
	}
	k.applied = t
	k.untrack(t.Name, func(name string) bool {
		return slices.ContainsFunc(t.Sets, func(s Set) bool { return s.Timeout && s.Name == name })
	})
	return before + changes, k.ensureWatch()
}

// carryOut brings some sides to what they shall be.
func (k *Kernel) carryOut(ctx context.Context, r *reader, t *Table, sides []side) (changes int, err error) {
	lost, err := k.adopt(r, sides[0].have, t)
	if err != nil {
		return 0, err
	}
	e := execution{Kernel: k, ctx: ctx, table: t, sides: sides, lost: lost}
	if err := e.run(); err != nil {
		return 0, err
	}
	changes = e.putBack
	for _, s := range sides {
		changes += s.plan.changes()
	}
	return changes, nil
}

// adopt reads the learned sets that the kernel has and we do not know yet, before
// anything is written: what an earlier process left, or others put back. It says
// which elements we know of and the kernel does not have.
func (k *Kernel) adopt(r *reader, have *state, t *Table) (lost map[*learned][]held, err error) {
	lost = map[*learned][]held{}
	for _, w := range t.learnedSets() {
		s := k.track(t.ref(w.Name))
		s.size, s.refs = w.Size, k.refs(t, w.Name)
		if s.live.Load() {
			continue
		}
		there := slices.ContainsFunc(have.sets, func(h setState) bool {
			return h.name == w.Name && h.learnable(w.Family) == nil
		})
		lost[s] = nil
		if !there {
			continue // and makeSet puts everything back
		}
		if lost[s], err = k.read(r, s); err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// read compares what we know of a set with the kernel's set: elements that are new
// to us are noted, those that are missing there are returned.
func (k *Kernel) read(r *reader, s *learned) ([]held, error) {
	elems, err := r.elements(s.ref)
	if err != nil {
		return nil, err
	}
	now := k.clock.now()
	present := make(map[netip.Addr]bool, len(elems))
	for _, e := range elems {
		present[plain(e.key)] = true
		s.note(e, now)
	}
	missing := s.held(now, 0)
	return slices.DeleteFunc(missing, func(h held) bool { return present[h.addr] }), nil
}

// Remove deletes our table, its twin and all in them; one that is not there is no error.
func (k *Kernel) Remove(ctx context.Context, name string) error {
	err := k.do(ctx, func() error {
		k.applied = nil
		k.again.Stop()
		k.untrack(name, func(string) bool { return false })
		r, err := openReader()
		if err != nil {
			return err
		}
		defer r.close()
		b := k.begin()
		for _, name := range []string{name, replicaOf(name)} {
			t, err := r.table(unix.NFPROTO_INET, name)
			if err != nil {
				return err
			}
			if err := k.mayWrite(t); err != nil {
				return err
			}
			if t.exists {
				b.delTable(name)
			}
		}
		return k.sock.transact(b)
	})
	if err != nil {
		return fmt.Errorf("remove nft table inet %s: %w", name, err)
	}
	return nil
}
