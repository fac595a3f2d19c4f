// Package index compiles any number of lists into one structure that tells with one walk
// over a name which of them hold it.
//
// Entries become parts (hashes of names, and patterns as text), parts an Index: an open hash
// table of names, an automaton for keywords and for the literals that guard regular
// expressions, and for each of them what every list says. An Index can be stored and loaded.
package index

// Index is lists compiled into one structure. It is immutable and safe for concurrent use.
type Index struct {
	lists    *listNames
	seed     seed
	names    *table
	values   *values
	patterns *patterns // nil where no list has any
	recent   recent
}

// listNames is shared by the indexes that number the lists alike.
type listNames struct{ names []string }

// bitset is a set of lists.
type bitset [MaxLists / 64]uint64

func (b *bitset) add(i int) { b[i/64] |= 1 << (i % 64) }

// Names returns the names of the lists. The caller must not change them.
func (ix *Index) Names() []string { return ix.lists.names }

// Len returns the number of different names that entries are on, without keywords and
// expressions.
func (ix *Index) Len() int { return ix.names.n }

// Match looks a name up in all lists. The name is in presentation form, in any case, with
// or without the trailing dot, with escapes. Match allocates nothing.
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

// answer accumulates what nodes say from the top-level label to the name.
type answer struct {
	listed   bitset
	specific bitset // a Specific exception is the longest name so far
	always   bitset
	insist   bitset
	pattern  bitset
	claimed  bool
}

// walk looks up the name and every name above it, from the right. It returns false if a
// label is empty: then it is no name.
func (ix *Index) walk(f *folded, a *answer) bool {
	var h uint64
	var hashes [batch]uint64
	for end := f.n; ; {
		n, start := 0, 0
		for n < batch {
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
		ix.names.prefetch(hashes[:n])
		for i, h := range hashes[:n] {
			if slot := ix.names.find(h); slot >= 0 {
				ix.addNode(ix.names.value(slot), start == 0 && i == n-1, a)
			}
		}
		if start == 0 {
			return true
		}
	}
}

// batch is how many names are hashed before the first of them is looked up.
const batch = 8

// addNode adds what one node says. Longer names are added later and override.
func (ix *Index) addNode(value uint32, self bool, a *answer) {
	group := groupPlanes * ix.values.words
	set := ix.values.set(value)
	if self {
		a.override(set[:group], ix.values.words)
		return
	}
	a.override(set[group:2*group], ix.values.words)
	a.override(set[2*group:], ix.values.words)
}

// override adds what a group of planes says. An exception takes precedence over an entry.
func (a *answer) override(set []uint64, words int) {
	for w := range words {
		listed, always, specific, insist := set[w], set[words+w], set[2*words+w], set[3*words+w]
		a.listed[w] = (a.listed[w] | listed) &^ specific
		a.specific[w] = a.specific[w]&^listed | specific
		a.always[w] |= always
		a.insist[w] |= insist
		a.claimed = a.claimed || listed|always|specific|insist != 0
	}
}

// addPattern adds what a keyword or an expression says that matches.
func (ix *Index) addPattern(value uint32, a *answer) {
	words := ix.values.words
	set := ix.values.set(value)
	for w := range words {
		a.pattern[w] |= set[w]
		a.always[w] |= set[words+w]
		a.insist[w] |= set[3*words+w]
	}
	a.claimed = true
}
