package dnshalf

import (
	"slices"
	"strings"
	"time"

	"github.com/puzpuzpuz/xsync/v4"
)

// maxNames bounds the names that are remembered. A name costs about 200 bytes, so
// a flood of aliases cannot take more than some 50 MB.
const maxNames = 1 << 18

// Names remembers the names that a listed name's answer led to: the targets of
// CNAME, HTTPS and SVCB records. Clients ask for these again by themselves, so they
// count as listed too, for as long as the elements of their addresses live. All
// methods may be called from any goroutine; Leads takes no lock and does not allocate.
type Names struct {
	m       *xsync.Map[string, ledTo]
	now     func() time.Time
	changed chan named // to the journal; nil without one
	size    int
}

// ledTo says which lists a name stands under, and until when. It is immutable.
type ledTo struct {
	until time.Time
	lists []string
}

type named struct {
	name string
	ledTo
}

func newNames(now func() time.Time) *Names {
	return &Names{m: xsync.NewMap[string, ledTo](), now: now, size: maxNames}
}

// Leads reports whether a name that a member of one of the lists led to is still
// remembered. The name is in lower case with a trailing dot.
func (n *Names) Leads(name string, lists []string) bool {
	l, ok := n.m.Load(name)
	if !ok || !n.now().Before(l.until) {
		return false
	}
	for _, want := range lists {
		if slices.Contains(l.lists, want) {
			return true
		}
	}
	return false
}

// Lists returns the lists that a remembered name stands under, or nil. The caller
// does not change the slice.
func (n *Names) Lists(name string) []string {
	if l, ok := n.m.Load(name); ok && n.now().Before(l.until) {
		return l.lists
	}
	return nil
}

// Add remembers that a name of the lists led to name. It is remembered for want
// from now, unless it already is for at least need: see gateway.Lifetime.Of. The
// name is in lower case with a trailing dot.
func (n *Names) Add(name string, lists []string, need, want time.Duration) {
	if len(lists) == 0 {
		return
	}
	now := n.now()
	if l, ok := n.m.Load(name); ok && !l.until.Before(now.Add(need)) && containsAll(l.lists, lists) {
		return
	}
	if n.m.Size() >= n.size {
		n.makeRoom(now)
	}
	next, _ := n.m.Compute(name, func(old ledTo, ok bool) (ledTo, xsync.ComputeOp) {
		next := ledTo{until: now.Add(want), lists: slices.Clone(lists)}
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
	if n.changed != nil {
		select {
		case n.changed <- named{strings.Clone(name), next}:
		default: // the journal is behind; its next full writing carries the name
		}
	}
}

// makeRoom forgets what has lapsed, and where that is not enough every eighth
// name: a name that is still in use comes back with its next answer.
func (n *Names) makeRoom(now time.Time) {
	n.sweep(now)
	if n.m.Size() < n.size {
		return
	}
	i := 0
	n.m.Range(func(name string, _ ledTo) bool {
		if i++; i%8 == 0 {
			n.m.Delete(name)
		}
		return true
	})
}

// sweep forgets what has lapsed.
func (n *Names) sweep(now time.Time) {
	n.m.Range(func(name string, l ledTo) bool {
		if !now.Before(l.until) {
			n.m.Delete(name)
		}
		return true
	})
}

// Len is the number of names remembered, lapsed ones included until the next sweep.
func (n *Names) Len() int { return n.m.Size() }

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
