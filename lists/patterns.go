package lists

import (
	"maps"
	"regexp"
	"slices"
	"sync"

	"github.com/nameroute/nameroute/lists/entry"
)

// patterns are the keywords and regular expressions of all lists. One automaton
// looks for all keywords and for the texts that guard expressions; an expression is
// run only for names that hold one of its texts.
type patterns struct {
	find      *automaton
	texts     []string   // what the automaton looks for
	keyword   []uint32   // of a text: its value id as a keyword, or 0
	guards    [][]uint32 // of a text: the expressions that it guards
	exprs     []expr
	unguarded []uint32  // expressions without a fixed text; they are run for every name
	names     sync.Pool // of *[]byte: expressions need the name outside the stack
}

type expr struct {
	text  string
	re    *regexp.Regexp
	value uint32
}

// newPatterns compiles patterns, given with their value ids. Expressions that were
// compiled before are used again; those that do not compile are left out.
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
	for _, x := range slices.Sorted(maps.Keys(exprs)) {
		re := compiled[x]
		if re == nil {
			var err error
			if re, err = entry.CompileRegexp(x); err != nil {
				continue
			}
		}
		n := uint32(len(p.exprs))
		p.exprs = append(p.exprs, expr{x, re, exprs[x]})
		literals := entry.Literals(x)
		if entry.Shortest(literals) == 0 {
			p.unguarded = append(p.unguarded, n)
			continue
		}
		for _, l := range literals {
			t := text(l)
			p.guards[t] = append(p.guards[t], n)
		}
	}
	p.find = newAutomaton(p.texts)
	return p
}

// match adds what the patterns say about a name.
func (p *patterns) match(f *folded, ix *Index, a *answer) {
	t := trial{p: p}
	for _, n := range p.unguarded {
		if t.run(n, f) {
			ix.pattern(p.exprs[n].value, a)
		}
	}
	s := uint32(0)
	for _, c := range f.b[:f.n] {
		s = p.find.next(s, c)
		for at := p.find.found[s]; at != 0; at = p.find.found[p.find.fail[at]] {
			n := p.find.text[at]
			if v := p.keyword[n]; v != 0 {
				ix.pattern(v, a)
			}
			for _, x := range p.guards[n] {
				if t.run(x, f) {
					ix.pattern(p.exprs[x].value, a)
				}
			}
		}
	}
	t.end()
}

// trial runs expressions on one name.
type trial struct {
	p    *patterns
	name *[]byte
	done [16]uint32 // the last expressions run, plus one: a guard may occur often
	n    int
}

// run takes the name as a parameter: kept in the trial, it would leave the stack.
func (t *trial) run(n uint32, f *folded) bool {
	for _, d := range t.done {
		if d == n+1 {
			return false
		}
	}
	t.done[t.n%len(t.done)] = n + 1
	t.n++
	if t.name == nil {
		t.name = t.p.names.Get().(*[]byte)
		*t.name = append((*t.name)[:0], f.b[:f.n]...)
	}
	return t.p.exprs[n].re.Match(*t.name)
}

func (t *trial) end() {
	if t.name != nil {
		t.p.names.Put(t.name)
	}
}
