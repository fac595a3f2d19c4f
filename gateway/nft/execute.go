package nft

import (
	"context"
	"slices"
)

// execution carries out one plan.
type execution struct {
	*Kernel
	ctx     context.Context
	table   *Table
	plan    *plan
	lost    map[*learned][]held // learned elements that the kernel does not have
	putBack int
}

// run orders the transactions so that at no time a rule stands without what it
// needs: static sets are filled before rules use them, except that after a loss,
// when nothing is marked, the rules come first and the prefixes of lists follow.
func (e *execution) run(gone bool) error {
	if err := e.adoptTable(); err != nil {
		return err
	}
	var later []rangeChange
	if e.plan.fresh {
		for _, s := range e.plan.newSets {
			if !s.learned && !s.base {
				later = append(later, rangeChange{set: s, add: s.ranges})
			}
		}
	} else if err := e.fillSets(); err != nil {
		return err
	}
	if err := e.main(gone); err != nil {
		return err
	}
	if err := e.rest(); err != nil {
		return err
	}
	for _, c := range later {
		if err := e.inChunks(c); err != nil {
			return err
		}
	}
	return nil
}

func (e *execution) adoptTable() error {
	if !e.plan.adopt && !e.plan.wake {
		return nil
	}
	b := e.begin()
	b.newTable(e.table.Name, e.plan.flags)
	return e.sock.transact(b)
}

// begin starts a batch in the buffers of the last one.
func (k *Kernel) begin() *batch {
	k.batch = newBatch(k.batch)
	return k.batch
}

// fillSets brings static sets of a table that stays to their content, before the
// rules change.
func (e *execution) fillSets() error {
	for _, s := range e.plan.newSets {
		if s.learned || e.plan.remade[s.name] {
			continue
		}
		b := e.begin()
		b.newSet(e.table.Name, s)
		if err := e.sock.transact(b); err != nil {
			return err
		}
		if err := e.inChunks(rangeChange{set: s, add: s.ranges}); err != nil {
			return err
		}
	}
	for _, c := range e.plan.ranges {
		if err := e.inChunks(c); err != nil {
			return err
		}
	}
	return nil
}

// inChunks changes a static set in bounded transactions: one on an interval set
// takes time that grows with the set, and learning waits for it.
func (e *execution) inChunks(c rangeChange) error {
	for _, part := range c.chunks(maxPerMessage) {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		b := e.begin()
		b.changeRanges(e.table.Name, part)
		if err := e.sock.transact(b); err != nil {
			return err
		}
		e.interlude()
	}
	return nil
}

// main is the transaction that changes chains and rules, and makes the sets that
// they look up. gone says that the table is not there: then learned elements are
// limited to the hot ones, because nothing is routed until the rules are back.
func (e *execution) main(gone bool) error {
	b, p, name := e.begin(), e.plan, e.table.Name
	if p.replace {
		b.delTable(name)
	}
	if p.fresh {
		b.newTable(name, p.flags)
	}
	for _, r := range p.delRules {
		b.delRule(name, r)
	}
	for _, c := range p.delChains {
		b.delChain(name, c)
	}
	for _, s := range p.delSets {
		b.delSet(name, s)
	}
	for _, s := range p.newSets {
		e.makeSet(b, s, gone)
	}
	for _, c := range append(p.newChains, p.policies...) {
		b.newChain(name, c)
	}
	for _, r := range p.newRules {
		if err := b.newRule(name, r); err != nil {
			return err
		}
	}
	return e.sock.transact(b)
}

// makeSet adds a set to the main transaction with what it must hold from the start.
func (e *execution) makeSet(b *batch, s set, gone bool) {
	p, name := e.plan, e.table.Name
	if !s.learned {
		if p.fresh || p.remade[s.name] {
			b.newSet(name, s)
		}
		if (p.fresh && s.base) || p.remade[s.name] {
			b.changeRanges(name, rangeChange{set: s, add: s.ranges})
		}
		return
	}
	b.newSet(name, s)
	l := e.track(e.table.ref(s.name))
	now := e.clock.now()
	elems := l.held(now, hotFirst)
	l.live.Store(false)
	e.lost[l] = nil
	if gone && len(elems) > hotFirst {
		e.lost[l] = elems[hotFirst:]
		elems = elems[:hotFirst]
	}
	b.putBack(l, elems, now)
	e.putBack += len(elems)
}

// rest puts back the learned elements that the main transaction left out; from
// then on a set's expiry table can be trusted.
func (e *execution) rest() error {
	for s := range e.lost {
		s.there = true
	}
	for s, elems := range e.lost {
		for part := range slices.Chunk(elems, maxPerMessage) {
			b := e.begin()
			b.putBack(s, part, e.clock.now())
			if err := e.sock.transact(b); err != nil {
				return err
			}
			e.putBack += len(part)
			e.interlude()
		}
		s.live.Store(true)
	}
	return nil
}
