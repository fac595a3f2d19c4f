// Package aliases holds the names that the answers for listed names lead to: the targets
// of CNAME, HTTPS and SVCB records. Clients query these names separately, so they count
// as listed, too, for as long as the elements of their addresses live.
package aliases

import (
	"slices"
	"strings"
	"time"

	"github.com/puzpuzpuz/xsync/v4"
)

// maxNames bounds the aliases in a Store. One takes about 200 bytes, so a flood of them
// takes 50 MB at most.
const maxNames = 1 << 18

// Store maps an alias to the lists that it counts as listed on, and until when. All
// methods may be called concurrently; Has and Lists take no lock and allocate nothing.
// Names are in lower case with a trailing dot.
type Store struct {
	names   *xsync.Map[string, entry]
	now     func() time.Time
	changed chan alias // to the journal; nil without one
	size    int
}

// entry is immutable.
type entry struct {
	until time.Time
	lists []string
}

type alias struct {
	name string
	entry
}

// New returns an empty Store.
func New() *Store { return newStore(time.Now) }

func newStore(now func() time.Time) *Store {
	return &Store{names: xsync.NewMap[string, entry](), now: now, size: maxNames}
}

// Has reports whether a name is an alias of a name on one of the lists.
func (s *Store) Has(name string, lists []string) bool {
	e, ok := s.names.Load(name)
	if !ok || !s.now().Before(e.until) {
		return false
	}
	for _, want := range lists {
		if slices.Contains(e.lists, want) {
			return true
		}
	}
	return false
}

// Lists returns the lists that an alias counts as listed on, nil for any other name. The
// caller must not change the slice.
func (s *Store) Lists(name string) []string {
	if e, ok := s.names.Load(name); ok && s.now().Before(e.until) {
		return e.lists
	}
	return nil
}

// Add makes name an alias of a name on the lists. It stays one for want from now, unless
// it already does for at least need: see gateway.Lifetime.Of.
func (s *Store) Add(name string, lists []string, need, want time.Duration) {
	if len(lists) == 0 {
		return
	}
	now := s.now()
	if e, ok := s.names.Load(name); ok && !e.until.Before(now.Add(need)) && containsAll(e.lists, lists) {
		return
	}
	if s.names.Size() >= s.size {
		s.shrink(now)
	}
	next, _ := s.names.Compute(name, func(old entry, ok bool) (entry, xsync.ComputeOp) {
		next := entry{until: now.Add(want), lists: slices.Clone(lists)}
		if ok && now.Before(old.until) {
			next.until = later(old.until, next.until)
			for _, l := range old.lists {
				if !slices.Contains(next.lists, l) {
					next.lists = append(next.lists, l)
				}
			}
		}
		return next, xsync.UpdateOp
	})
	if s.changed != nil {
		select {
		case s.changed <- alias{strings.Clone(name), next}:
		default: // the journal is behind; its next rewrite carries the name
		}
	}
}

// shrink deletes lapsed aliases, and where that is not enough every eighth one: an alias
// in use comes back with its next answer.
func (s *Store) shrink(now time.Time) {
	s.deleteLapsed(now)
	if s.names.Size() < s.size {
		return
	}
	i := 0
	s.names.Range(func(name string, _ entry) bool {
		if i++; i%8 == 0 {
			s.names.Delete(name)
		}
		return true
	})
}

func (s *Store) deleteLapsed(now time.Time) {
	s.names.Range(func(name string, e entry) bool {
		if !now.Before(e.until) {
			s.names.Delete(name)
		}
		return true
	})
}

// Len returns the number of aliases, including lapsed ones that are not deleted yet.
func (s *Store) Len() int { return s.names.Size() }

func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
