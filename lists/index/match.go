package index

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// Match is what the lists of an index say of one name.
type Match struct {
	ix      *Index
	lists   bitset // those that hold the name, exceptions considered
	claimed bool
}

// Listed reports whether a list of the selection holds the name. A selection from another
// index is translated by the names of the lists, which is slower.
func (m Match) Listed(s Selection) bool {
	if m.ix == nil || s.lists == nil {
		return false
	}
	set := s.set
	if s.lists != m.ix.lists {
		other := m.ix.numbers(s.names)
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

// Lists returns the names of the lists that hold the name. It allocates; it is for logs.
func (m Match) Lists() []string {
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

// Selection selects lists by name. An unknown list is an error that suggests one. The
// selection is also valid for the indexes that are rebuilt from ix; a list that such an
// index does not have holds no names.
func (ix *Index) Selection(names ...string) (Selection, error) {
	for _, name := range names {
		if !slices.Contains(ix.lists.names, name) {
			return Selection{}, unknownList(name, ix.lists.names)
		}
	}
	s := Selection{names: slices.Clone(names), lists: ix.lists}
	set := ix.numbers(names)
	s.set = &set
	return s, nil
}

// numbers returns the set of those of the named lists that the index has.
func (ix *Index) numbers(names []string) (set bitset) {
	for i, name := range ix.lists.names {
		if slices.Contains(names, name) {
			set.add(i)
		}
	}
	return set
}

func unknownList(name string, known []string) error {
	switch near := problem.Nearest(name, known); {
	case len(known) == 0:
		return fmt.Errorf("list %q: unknown; there are no lists", name)
	case near != "":
		return fmt.Errorf("list %q: unknown; the nearest is %q", name, near)
	default:
		return fmt.Errorf("unknown list %q: want one of %s", name, strings.Join(known, ", "))
	}
}
