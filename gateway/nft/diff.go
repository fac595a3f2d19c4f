package nft

import (
	"slices"

	"github.com/google/nftables/expr"
	"github.com/nameroute/nameroute/gateway/nft/rule"
	"golang.org/x/sys/unix"
)

// plan is the difference between the kernel's table and the wanted one.
type plan struct {
	drop    bool   // delete the table, which has no use; nothing else then counts
	replace bool   // delete the kernel's table and make it again, in one transaction
	fresh   bool   // the table is not there, or is replaced: everything is new
	adopt   bool   // take over the table that a dead owner left
	wake    bool   // the table is dormant
	flags   uint32 // of a fresh, adopted or woken table

	delRules  []ruleState
	delChains []string
	delSets   []string
	newSets   []Set
	remade    map[string]bool // sets that are deleted and made again
	newChains []Chain
	policies  []Chain // base chains whose policy is not accept
	newRules  []placedRule
	ranges    []rangeChange // of static sets that stay
	parts     []rangeChange // of static sets, each for a transaction of its own; see cut
}

// placedRule goes before the rule with a handle, or to the end of its chain.
type placedRule struct {
	chain          string
	before         uint64
	rule           rule.Rule
	packets, bytes uint64 // what its counter begins with
}

// changes counts the objects and elements that differ. To become the owner of a
// table that is otherwise right is none.
func (p *plan) changes() int {
	n := len(p.delRules) + len(p.delChains) + len(p.delSets) + len(p.newSets) + len(p.newChains) + len(p.policies) + len(p.newRules)
	for _, s := range p.newSets {
		n += len(s.Ranges)
	}
	for _, r := range p.ranges {
		n += len(r.del) + len(r.add)
	}
	if p.fresh || p.wake || p.drop {
		n++
	}
	return n
}

// diff computes the plan. flags are the table flags that are wanted, port is the
// writing socket's. With replace everything is made again. It is pure.
func diff(have *state, want *Table, flags, port uint32, replace bool) (*plan, error) {
	p := &plan{remade: map[string]bool{}, flags: flags}
	p.tableFlags(have.table, port, replace)
	if p.fresh {
		p.newSets, p.newChains = want.Sets, want.Chains
		for _, c := range want.Chains {
			for _, r := range c.Rules {
				p.newRules = append(p.newRules, placedRule{chain: c.Name, rule: r})
			}
		}
		p.carryCounters(have)
		return p, nil
	}
	p.diffSets(have, want)
	if err := p.diffChains(have, want); err != nil {
		return nil, err
	}
	p.carryCounters(have)
	return p, nil
}

// tableFlags decides what becomes of the table itself. The kernel lets no program add
// the owner flag to an ordinary table (EOPNOTSUPP), only to an orphan.
func (p *plan) tableFlags(have tableState, port uint32, replace bool) {
	switch {
	case !have.exists:
		p.fresh = true
	case replace:
		p.fresh, p.replace = true, true
	case p.flags&flagOwner == 0:
		// An ordinary table is wanted; an orphan of an owner is as good as one.
		p.wake = have.flags&flagDormant != 0
		p.flags = have.flags &^ flagDormant
	case have.flags == p.flags && have.owner == port:
	case have.flags == p.flags&^flagOwner && have.flags != 0:
		p.adopt = true
	default:
		p.fresh, p.replace = true, true
	}
}

func (p *plan) diffSets(have *state, want *Table) {
	for _, w := range want.Sets {
		i := slices.IndexFunc(have.sets, func(h setState) bool { return h.name == w.Name })
		switch {
		case i < 0:
			p.newSets = append(p.newSets, w)
		case !w.matches(have.sets[i]):
			p.remade[w.Name] = true
			p.delSets = append(p.delSets, w.Name)
			p.newSets = append(p.newSets, w)
		case !w.Timeout:
			if del, add := diffRanges(have.ranges[w.Name], w.Ranges); len(del)+len(add) > 0 {
				p.ranges = append(p.ranges, rangeChange{set: w, del: del, add: add})
			}
		}
	}
	for _, h := range have.sets {
		if !slices.ContainsFunc(want.Sets, func(w Set) bool { return w.Name == h.name }) {
			p.delSets = append(p.delSets, h.name)
		}
	}
}

// flags are the kernel's NFT_SET_* of a set.
func (s Set) flags() uint32 {
	if s.Timeout {
		return unix.NFT_SET_TIMEOUT
	}
	return unix.NFT_SET_INTERVAL
}

func (s Set) matches(have setState) bool {
	typ, length := keyType(s.Family)
	return have.flags == s.flags() && have.keyType == typ && have.keyLen == length && have.size == s.Size && have.timeout == 0
}

func (p *plan) diffChains(have *state, want *Table) error {
	for _, w := range want.Chains {
		i := slices.IndexFunc(have.chains, func(h chainState) bool { return h.name == w.Name })
		rules := have.rules[w.Name]
		switch {
		case i < 0:
			p.newChains = append(p.newChains, w)
		case !w.matches(have.chains[i]):
			p.delRules = append(p.delRules, rules...)
			p.delChains = append(p.delChains, w.Name)
			p.newChains = append(p.newChains, w)
			rules = nil
		case w.Type != "" && have.chains[i].policy != policyAccept:
			p.policies = append(p.policies, w)
		}
		if err := p.diffRules(w, rules); err != nil {
			return err
		}
	}
	for _, h := range have.chains {
		if !slices.ContainsFunc(want.Chains, func(w Chain) bool { return w.Name == h.name }) {
			p.delRules = append(p.delRules, have.rules[h.name]...)
			p.delChains = append(p.delChains, h.name)
		}
	}
	return nil
}

// policyAccept is the kernel's NF_ACCEPT.
const policyAccept = 1

func (c Chain) matches(have chainState) bool {
	if c.Type == "" {
		return !have.base
	}
	return have.base && have.kind == c.Type && have.hook == hookNumbers[c.Hook] && have.priority == c.Priority
}

// diffRules keeps the rules that a chain begins and ends with, and replaces those
// between them.
func (p *plan) diffRules(want Chain, have []ruleState) error {
	same := func(w rule.Rule, h ruleState) (bool, error) {
		if usesSet(w, p.remade) {
			return false, nil
		}
		return sameRule(w, h)
	}
	head := 0
	for head < len(want.Rules) && head < len(have) {
		ok, err := same(want.Rules[head], have[head])
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		head++
	}
	tail := 0
	for tail < len(want.Rules)-head && tail < len(have)-head {
		ok, err := same(want.Rules[len(want.Rules)-1-tail], have[len(have)-1-tail])
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		tail++
	}
	p.delRules = append(p.delRules, have[head:len(have)-tail]...)
	var before uint64
	if tail > 0 {
		before = have[len(have)-tail].handle
	}
	for _, r := range want.Rules[head : len(want.Rules)-tail] {
		p.newRules = append(p.newRules, placedRule{chain: want.Name, before: before, rule: r})
	}
	return nil
}

// usesSet reports whether a rule looks up one of the sets.
func usesSet(r rule.Rule, sets map[string]bool) bool {
	for _, p := range r.Parts {
		for _, e := range p.Exprs {
			if l, ok := e.(*expr.Lookup); ok && sets[l.SetName] {
				return true
			}
		}
	}
	return false
}

// carryCounters lets a rule that replaces one of the same meaning count on.
func (p *plan) carryCounters(have *state) {
	type key struct{ chain, comment string }
	old := map[key]ruleState{}
	for chain, rules := range have.rules {
		for _, r := range rules {
			old[key{chain, string(r.comment)}] = r
		}
	}
	for i := range p.newRules {
		r := &p.newRules[i]
		if h, ok := old[key{r.chain, string(userData(r.rule))}]; ok && r.rule.KeepCounter {
			r.packets, r.bytes = h.counters()
		}
	}
}

// ref names a set of the table.
func (t *Table) ref(name string) SetRef { return SetRef{Family: "inet", Table: t.Name, Name: name} }
