package index

import (
	"maps"
	"regexp"
	"slices"
	"sync"

	"github.com/nameroute/nameroute/lists/entry"
)

// patterns are the keywords and regular expressions of all lists. One automaton searches
// for all keywords and for the texts that guard expressions; an expression is run only for
// names that contain one of its guards.
type patterns struct {
	find      *automaton
	texts     []string   // what the automaton searches for
	keyword   []uint32   // of a text: its value id as a keyword, or 0
	guards    [][]uint32 // of a text: the expressions that it guards
	exprs     []expr
	unguarded []uint32  // expressions without a guard, which are run for every name
	names     sync.Pool // of *[]byte: expressions need the name on the heap
}

type expr struct {
	text  string
	re    *regexp.Regexp
	value uint32
}

// newPatterns compiles patterns, given with their value ids. Expressions in compiled are
// reused; those that do not compile are left out.
func newPatterns(keywords, exprs map[string]uint32, compiled map[string]*regexp.Regexp) *patterns {
	p := &patterns{}
	p.names.New = func() any { b := make([]byte, 0, entry.MaxName); return &b }
	number := map[string]int{}
	text := func(t string) int {
		n, ok := number[t]
		if !ok {
			n = len(p.texts)
			number[t] = n
			p.texts = append(p.texts, t)
			p.keyword = append(p.keyword, 0)
			p.guards = append(p.guards, nil)
		}
		return n
	}
	for _, k := range slices.Sorted(maps.Keys(keywords)) {
		p.keyword[text(k)] = keywords[k]
	}
	for _, x := range guard(slices.Sorted(maps.Keys(exprs))) {
		re := compiled[x.text]
		if re == nil {
			var err error
			if re, err = entry.CompileRegexp(x.text); err != nil {
				continue
			}
		}
		n := uint32(len(p.exprs))
		p.exprs = append(p.exprs, expr{x.text, re, exprs[x.text]})
		if x.guards == nil {
			p.unguarded = append(p.unguarded, n)
			continue
		}
		for _, l := range x.guards {
			t := text(l)
			p.guards[t] = append(p.guards[t], n)
		}
	}
	p.find = newAutomaton(p.texts)
	return p
}

// match adds to a what the patterns say of a name.
func (p *patterns) match(f *folded, ix *Index, a *answer) {
	r := runner{p: p}
	for _, n := range p.unguarded {
		if r.run(n, f) {
			ix.addPattern(p.exprs[n].value, a)
		}
	}
	s := uint32(0)
	for _, c := range f.b[:f.n] {
		s = p.find.next(s, c)
		for at := p.find.found[s]; at != 0; at = p.find.found[p.find.fail[at]] {
			n := p.find.text[at]
			if v := p.keyword[n]; v != 0 {
				ix.addPattern(v, a)
			}
			for _, x := range p.guards[n] {
				if r.run(x, f) {
					ix.addPattern(p.exprs[x].value, a)
				}
			}
		}
	}
	r.release()
}

// runner runs expressions on one name.
type runner struct {
	p    *patterns
	name *[]byte
	done [16]uint32 // the expressions run last, plus one: a guard may occur often
	n    int
}

// run takes the name as a parameter: as a field, it would escape to the heap.
func (r *runner) run(n uint32, f *folded) bool {
	for _, d := range r.done {
		if d == n+1 {
			return false
		}
	}
	r.done[r.n%len(r.done)] = n + 1
	r.n++
	if r.name == nil {
		r.name = r.p.names.Get().(*[]byte)
		*r.name = append((*r.name)[:0], f.b[:f.n]...)
	}
	return r.p.exprs[n].re.Match(*r.name)
}

func (r *runner) release() {
	if r.name != nil {
		r.p.names.Put(r.name)
	}
}
