package lists

import (
	"fmt"
	"slices"
	"strings"
)

// Index answers for any number of lists at once. It is immutable and safe for
// concurrent use.
type Index struct {
	lists    *listNames
	seed     seed
	names    *table
	values   *values
	patterns *patterns // nil where no list has any
}

// listNames is shared by the indexes in which the lists have the same numbers.
type listNames struct{ names []string }

// bitset is a set of lists.
type bitset [MaxLists / 64]uint64

func (b *bitset) set(i int) { b[i/64] |= 1 << (i % 64) }

// Names returns the lists' names. The caller must not change them.
func (ix *Index) Names() []string { return ix.lists.names }

// Len is the number of different names that entries are on, keywords and
// expressions not counted.
func (ix *Index) Len() int { return ix.names.n }

// Match looks a name up in all lists. The name is in presentation form, in any
// case, with or without the trailing dot, with escapes. It allocates nothing.
func (ix *Index) Match(name string) Match {
	m := Match{ix: ix}
	var f folded
	if !f.fold(name) {
		return m
	}
	var a answer
	if !ix.walk(&f, &a) {
		return m
	}
	if ix.patterns != nil {
		ix.patterns.match(&f, ix, &a)
	}
	m.claimed = a.claimed
	for w := range ix.values.words {
		m.lists[w] = (a.listed[w]|a.pattern[w]&^a.specific[w])&^a.always[w] | a.insist[w]
	}
	return m
}

// answer gathers what nodes say on the way from the top-level label to the name.
type answer struct {
	listed   bitset
	specific bitset // a Specific exception is the longest name so far
	always   bitset
	insist   bitset
	pattern  bitset
	claimed  bool
}

// walk looks up the name and every name above it, from the right; false says that
// it has an empty label and is no name.
func (ix *Index) walk(f *folded, a *answer) bool {
	var h uint64
	var hashes [atOnce]uint64
	for end := f.n; ; {
		n, start := 0, 0
		for n < atOnce {
			start = f.labelStart(end)
			if start == end {
				*a = answer{}
				return false
			}
			h = ix.seed.label(h, f, start, end)
			hashes[n] = h
			n++
			if start == 0 {
				break
			}
			end = start - 1
		}
		ix.names.touch(hashes[:n])
		for i, h := range hashes[:n] {
			if slot := ix.names.find(h); slot >= 0 {
				ix.node(ix.names.value(slot), start == 0 && i == n-1, a)
			}
		}
		if start == 0 {
			return true
		}
	}
}

// atOnce is how many names on the way are hashed before the first is looked up.
const atOnce = 8

// node adds what one node says: longer names come later and so overrule.
func (ix *Index) node(value uint32, self bool, a *answer) {
	group := groupPlanes * ix.values.words
	set := ix.values.set(value)
	if self {
		a.overrule(set[:group], ix.values.words)
		return
	}
	a.overrule(set[group:2*group], ix.values.words)
	a.overrule(set[2*group:], ix.values.words)
}

// overrule adds what a group of planes says, where an exception wins over an entry.
func (a *answer) overrule(set []uint64, words int) {
	for w := range words {
		listed, always, specific, insist := set[w], set[words+w], set[2*words+w], set[3*words+w]
		a.listed[w] = (a.listed[w] | listed) &^ specific
		a.specific[w] = a.specific[w]&^listed | specific
		a.always[w] |= always
		a.insist[w] |= insist
		a.claimed = a.claimed || listed|always|specific|insist != 0
	}
}

// pattern adds what a keyword or an expression says that matches.
func (ix *Index) pattern(value uint32, a *answer) {
	words := ix.values.words
	set := ix.values.set(value)
	for w := range words {
		a.pattern[w] |= set[w]
		a.always[w] |= set[words+w]
		a.insist[w] |= set[3*words+w]
	}
	a.claimed = true
}

// Match is what the lists of an index say about one name.
type Match struct {
	ix      *Index
	lists   bitset // those that hold the name, exceptions respected
	claimed bool
}

// Listed reports whether a list of the selection holds the name. A selection made
// from another index is translated by the lists' names, more slowly.
func (m Match) Listed(s Selection) bool {
	if m.ix == nil || s.lists == nil {
		return false
	}
	set := s.set
	if s.lists != m.ix.lists {
		other := m.ix.selected(s.names)
		set = &other
	}
	for w := range m.ix.values.words {
		if m.lists[w]&set[w] != 0 {
			return true
		}
	}
	return false
}

// Claimed reports whether any list has an entry or an exception for the name.
func (m Match) Claimed() bool { return m.claimed }

// Which names the lists that hold the name. It allocates; it is for logs.
func (ix *Index) Which(m Match) []string {
	var names []string
	if m.ix == nil {
		return nil
	}
	for i, name := range m.ix.lists.names {
		if m.lists[i/64]>>(i%64)&1 != 0 {
			names = append(names, name)
		}
	}
	return names
}

// Selection is some of the lists of an index.
type Selection struct {
	lists *listNames
	set   *bitset
	names []string
}

// Selection selects lists by name. An unknown list is an error that names the
// nearest one known. Lists of the indexes that a Library makes later may be selected
// with it too; a list that has gone by then holds nothing.
func (ix *Index) Selection(names ...string) (Selection, error) {
	for _, name := range names {
		if !slices.Contains(ix.lists.names, name) {
			return Selection{}, unknownList(name, ix.lists.names)
		}
	}
	s := Selection{names: append([]string(nil), names...), lists: ix.lists}
	set := ix.selected(names)
	s.set = &set
	return s, nil
}

// selected finds those of the named lists that the index has.
func (ix *Index) selected(names []string) (set bitset) {
	for i, name := range ix.lists.names {
		if slices.Contains(names, name) {
			set.set(i)
		}
	}
	return set
}

func unknownList(name string, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("list %q: unknown; there are no lists", name)
	}
	near := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
	if distance(name, near) <= max(2, len(name)/3) {
		return fmt.Errorf("list %q: unknown; the nearest is %q", name, near)
	}
	return fmt.Errorf("list %q: unknown; known are %s", name, strings.Join(known, ", "))
}

// distance is the Levenshtein distance of two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
