package nft

import "context"

// execution carries out one plan.
type execution struct {
	*Kernel
	ctx     context.Context
	table   *Table
	sides   []side
	lost    map[*learned][]held // learned elements that the kernel does not have
	putBack int
}

// run orders the transactions so that at no time a rule stands without what it
// needs: static sets are filled before rules use them, except that after a loss,
// when nothing is marked, the rules come first and the prefixes of lists follow.
func (e *execution) run() error {
	if err := e.adoptTables(); err != nil {
		return err
	}
	for _, s := range e.sides {
		if s.plan.fresh {
			continue
		}
		if err := e.fillSets(s); err != nil {
			return err
		}
	}
	if err := e.main(); err != nil {
		return err
	}
	if err := e.rest(); err != nil {
		return err
	}
	for _, s := range e.sides {
		for _, set := range s.plan.newSets {
			if !s.plan.fresh || set.Timeout || set.Required {
				continue
			}
			if err := e.inChunks(s, rangeChange{set: set, add: set.Ranges}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *execution) adoptTables() error {
	b := e.begin()
	for _, s := range e.sides {
		if s.plan.adopt || s.plan.wake {
			b.newTable(s.name, s.plan.flags)
		}
	}
	return e.sock.transact(b)
}

// begin starts a batch in the buffers of the last one.
func (k *Kernel) begin() *batch {
	k.batch = newBatch(k.batch)
	return k.batch
}

// fillSets brings static sets of a table that stays to their content, before the
// rules change.
func (e *execution) fillSets(s side) error {
	for _, set := range s.plan.newSets {
		if set.Timeout || s.plan.remade[set.Name] {
			continue
		}
		b := e.begin()
		b.newSet(s.name, set)
		if err := e.sock.transact(b); err != nil {
			return err
		}
		if err := e.inChunks(s, rangeChange{set: set, add: set.Ranges}); err != nil {
			return err
		}
	}
	for _, c := range s.plan.ranges {
		if err := e.inChunks(s, c); err != nil {
			return err
		}
	}
	return nil
}

// maxPerTurn bounds the elements of an interval set that one transaction changes, so
// that it takes less than a millisecond, which answers wait for that have something to
// learn.
const maxPerTurn = 500

// inChunks changes a static set in bounded transactions, between which learning has
// its turn.
func (e *execution) inChunks(s side, c rangeChange) error {
	var parts []rangeChange
	e.aside(func() { parts = c.chunks(maxPerTurn) })
	for _, part := range parts {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		b := e.begin()
		b.changeRanges(s.name, part)
		if err := e.sock.transact(b); err != nil {
			return err
		}
		e.interlude()
	}
	return nil
}

// main is the transaction that changes chains and rules, and makes the sets that
// they look up, on all sides at once.
func (e *execution) main() error {
	b := e.begin()
	for _, s := range e.sides {
		if err := e.change(b, s); err != nil {
			return err
		}
	}
	return e.sock.transact(b)
}

// change adds one side to the main transaction.
func (e *execution) change(b *batch, side side) error {
	p, name := side.plan, side.name
	if p.replace || p.drop {
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
		e.makeSet(b, side, s)
	}
	for _, c := range append(p.newChains, p.policies...) {
		b.newChain(name, c)
	}
	for _, r := range p.newRules {
		if err := b.newRule(name, r); err != nil {
			return err
		}
	}
	return nil
}

// makeSet adds a set to the main transaction with what it must hold from the start.
// Where the table is not there, learned elements are limited to the hot ones, because
// nothing is routed until the rules are back.
func (e *execution) makeSet(b *batch, side side, s Set) {
	p, name := side.plan, side.name
	if !s.Timeout {
		if p.fresh || p.remade[s.Name] {
			b.newSet(name, s)
		}
		if (p.fresh && s.Required) || p.remade[s.Name] {
			b.changeRanges(name, rangeChange{set: s, add: s.Ranges})
		}
		return
	}
	b.newSet(name, s)
	l := e.track(e.table.ref(s.Name))
	now := e.clock.now()
	elems := l.held(now, hotFirst)
	l.live.Store(false)
	more := e.lost[l] // what the other side lacks, too
	e.lost[l] = nil
	if len(more) > 0 {
		e.lost[l] = elems
	} else if !side.have.table.exists && len(elems) > hotFirst {
		e.lost[l] = elems[hotFirst:]
	}
	if !side.have.table.exists && len(elems) > hotFirst {
		elems = elems[:hotFirst]
	}
	b.putBack(SetRef{Family: "inet", Table: name, Name: s.Name}, l, elems, now)
	e.putBack += len(elems)
}

// rest puts back the learned elements that the main transaction left out; from
// then on a set's expiry table can be trusted.
func (e *execution) rest() error {
	for s := range e.lost {
		s.there = true
	}
	for s, elems := range e.lost {
		put, err := e.fill(s, elems, e.interlude)
		e.putBack += put
		if err != nil {
			return err
		}
		s.live.Store(true)
	}
	return nil
}
