package index

import "slices"

// automaton finds all of many texts in one pass over a name (Aho and Corasick 1975). The Go
// libraries for it allocate on each search or are not maintained. States are numbered in
// breadth-first order. Only the root, the state for most of a name, has a full row; the
// others have their few edges sorted and adjacent.
type automaton struct {
	root  [256]uint32 // next state of the root
	edges []uint32    // where a state's edges begin in label and to; one more than states
	label []byte
	to    []uint32
	fail  []uint32 // state of the longest proper suffix
	text  []int32  // the text that ends at a state, or -1
	found []uint32 // nearest state where a text ends, on the path of suffixes from the state itself; 0 for none
}

// trieNode is a state while the automaton is built.
type trieNode struct {
	text int32
	keys []byte
	next []uint32
}

func (n *trieNode) child(c byte) (uint32, bool) {
	if i, ok := slices.BinarySearch(n.keys, c); ok {
		return n.next[i], true
	}
	return 0, false
}

// newAutomaton builds the automaton of texts, none of them empty. The number of a text is
// its index.
func newAutomaton(texts []string) *automaton {
	trie := []trieNode{{text: -1}}
	for i, text := range texts {
		at := uint32(0)
		for k := 0; k < len(text); k++ {
			next, ok := trie[at].child(text[k])
			if !ok {
				next = uint32(len(trie))
				trie = append(trie, trieNode{text: -1})
				p, _ := slices.BinarySearch(trie[at].keys, text[k])
				trie[at].keys = slices.Insert(trie[at].keys, p, text[k])
				trie[at].next = slices.Insert(trie[at].next, p, next)
			}
			at = next
		}
		trie[at].text = int32(i)
	}
	a := &automaton{
		edges: make([]uint32, 1, len(trie)+1),
		fail:  make([]uint32, len(trie)),
		text:  make([]int32, len(trie)),
		found: make([]uint32, len(trie)),
	}
	// order[s] is the trie node that becomes state s. The edges of a state are written when
	// it is reached, which numbers its children.
	order := []uint32{0}
	for s := 0; s < len(order); s++ {
		n := &trie[order[s]]
		a.text[s] = n.text
		for i, c := range n.keys {
			child := uint32(len(order))
			order = append(order, n.next[i])
			a.label, a.to = append(a.label, c), append(a.to, child)
			if s == 0 {
				a.root[c] = child
			} else {
				a.fail[child] = a.next(a.fail[s], c)
			}
		}
		a.edges = append(a.edges, uint32(len(a.to)))
		if a.found[s] = uint32(s); n.text < 0 {
			a.found[s] = a.found[a.fail[s]]
		}
	}
	return a
}

// next returns the state after a byte. While the automaton is built it is called only for
// states whose edges are written: a fail state is nearer to the root.
func (a *automaton) next(s uint32, c byte) uint32 {
	for s != 0 {
		for i := a.edges[s]; i < a.edges[s+1]; i++ {
			if a.label[i] == c {
				return a.to[i]
			}
		}
		s = a.fail[s]
	}
	return a.root[c]
}
