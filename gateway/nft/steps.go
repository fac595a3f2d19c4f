package nft

// maxPerTurn bounds the elements of an interval set that one transaction changes, so
// that it takes less than a millisecond: answers that have addresses to learn wait for it.
const maxPerTurn = 500

// write adds the messages of one transaction to a batch.
type write = func(b *batch) error

// before returns the transactions that precede the change of the rules: taking over a
// table, and filling static sets of one that stays.
func (p *plan) before(table string) (steps []write) {
	if p.adopt || p.wake {
		steps = append(steps, func(b *batch) error { b.newTable(table, p.flags); return nil })
	}
	if p.fresh {
		return steps
	}
	for _, s := range p.newSets {
		if s.Timeout || p.remade[s.Name] {
			continue
		}
		steps = append(steps, func(b *batch) error { b.newSet(table, s); return nil })
	}
	return append(steps, changes(table, p.parts)...)
}

// rules adds the change of chains and rules to a transaction, and the sets that they look
// up.
func (p *plan) rules(b *batch, table string, contents func(Set) []Element) error {
	if p.replace || p.drop {
		b.delTable(table)
	}
	if p.fresh {
		b.newTable(table, p.flags)
	}
	for _, r := range p.delRules {
		b.delRule(table, r)
	}
	for _, c := range p.delChains {
		b.delChain(table, c)
	}
	for _, s := range p.delSets {
		b.delSet(table, s)
	}
	for _, s := range p.newSets {
		p.makeSet(b, table, s, contents)
	}
	for _, c := range p.newChains {
		b.newChain(table, c)
	}
	for _, c := range p.policies {
		b.newChain(table, c)
	}
	for _, r := range p.newRules {
		if err := b.newRule(table, r); err != nil {
			return err
		}
	}
	return nil
}

// makeSet adds a set with what it must hold from the start. Other static sets are filled
// before, or after a loss.
func (p *plan) makeSet(b *batch, table string, s Set, contents func(Set) []Element) {
	switch {
	case s.Timeout:
		b.newSet(table, s)
		b.addElements(SetRef{"inet", table, s.Name}, contents(s))
	case p.remade[s.Name] || p.fresh:
		b.newSet(table, s)
		if p.remade[s.Name] || s.Required {
			b.changeRanges(table, rangeChange{set: s, add: s.Ranges})
		}
	}
}

// after returns the transactions that follow the change of the rules.
func (p *plan) after(table string) []write {
	if !p.fresh {
		return nil
	}
	return changes(table, p.parts)
}

func changes(table string, parts []rangeChange) (steps []write) {
	for _, part := range parts {
		steps = append(steps, func(b *batch) error { b.changeRanges(table, part); return nil })
	}
	return steps
}

// cut decides which static sets are filled in transactions of their own, and cuts these
// changes into parts of about limit elements.
func (p *plan) cut(limit int) {
	all := p.ranges
	for _, s := range p.newSets {
		if !s.Timeout && !p.remade[s.Name] && (!p.fresh || !s.Required) {
			all = append(all, rangeChange{set: s, add: s.Ranges})
		}
	}
	for _, c := range all {
		p.parts = append(p.parts, c.chunks(limit)...)
	}
}
