// Package aliases holds the names that the answers for listed names lead to: the targets
// of CNAME, HTTPS, SRV and other records. Clients query these names separately, so they
// count as listed, too, for as long as the elements of their addresses live.
//
// Nobody's flood of names may cost another name its aliases. None is ever evicted: what
// does not fit is refused, and the answer that brings it is not given.
package aliases

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/puzpuzpuz/xsync/v4"
	"golang.org/x/net/publicsuffix"
)

const (
	// maxNames bounds the aliases in a Store. One takes about 250 bytes, so a flood of
	// them takes 65 MB at most.
	maxNames = 1 << 18
	// maxShare bounds the aliases that the names of one domain lead to: the owner of a listed
	// domain can make any number of names, and a target for each.
	maxShare = maxNames / 16
	// sweepPause is the least time between two searches for lapsed aliases in a full Store.
	sweepPause = 5 * time.Second
)

// Errors of Add.
var (
	ErrFull  = errors.New("there are as many aliases as are kept")
	ErrShare = errors.New("the names of one domain have as many aliases as they may")
)

// Store maps an alias to the lists that it counts as listed on, and until when. All
// methods may be called concurrently; those that only read take no lock and allocate
// nothing. Names are in lower case with a trailing dot.
type Store struct {
	names   *xsync.Map[string, entry]
	now     func() time.Time
	changed chan alias  // to the journal; nil without one
	missed  atomic.Bool // the journal was too slow for some
	size    int
	share   int

	mu     sync.Mutex     // held while names is changed
	shares map[string]int // how many aliases each domain has
	swept  time.Time
}

// entry is immutable.
type entry struct {
	until  time.Time
	lists  []string
	domain string // of the listed name whose answer has led to it first
}

type alias struct {
	name string
	entry
}

// New returns an empty Store.
func New() *Store { return newStore(time.Now) }

func newStore(now func() time.Time) *Store {
	return &Store{names: xsync.NewMap[string, entry](), now: now, size: maxNames, share: maxShare, shares: map[string]int{}}
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

// Domain returns the domain of the listed name whose answer made a name an alias first, and
// until when it is one; "" for any other name.
func (s *Store) Domain(name string) (domain string, until time.Time) {
	if e, ok := s.names.Load(name); ok && s.now().Before(e.until) {
		return e.domain, e.until
	}
	return "", time.Time{}
}

// Covers reports whether nothing is left to do for Add.
func (s *Store) Covers(name string, lists []string, need time.Duration) bool {
	e, ok := s.names.Load(name)
	return ok && !e.until.Before(s.now().Add(need)) && containsAll(e.lists, lists)
}

// Add makes name an alias of a name on the lists, to which an answer for the name from has
// led. It stays one for want from now, unless it already does for at least need: see
// gateway.Lifetime.Of. An error means that it is none.
func (s *Store) Add(name, from string, lists []string, need, want time.Duration) error {
	if len(lists) == 0 || s.Covers(name, lists, need) {
		return nil
	}
	now := s.now()
	next := entry{until: now.Add(want), lists: slices.Clone(lists)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.names.Load(name); ok && now.Before(old.until) {
		next.domain = old.domain
		next.until = later(old.until, next.until)
		for _, l := range old.lists {
			if !slices.Contains(next.lists, l) {
				next.lists = append(next.lists, l)
			}
		}
	} else {
		next.domain = s.domainOf(from)
		if err := s.room(next.domain, now); err != nil {
			return err
		}
	}
	s.put(strings.Clone(name), next)
	return nil
}

// domainOf returns what the aliases of a name are counted for: the domain that its owner
// registered, and for an alias that of the name that has led there.
func (s *Store) domainOf(name string) string {
	if e, ok := s.names.Load(name); ok && s.now().Before(e.until) {
		return e.domain
	}
	labels := dns.SplitDomainName(name)
	labels = labels[max(0, len(labels)-maxSuffix-1):]
	for i, l := range labels {
		labels[i] = strings.ReplaceAll(l, ".", "_") // an escaped one ends no label
	}
	domain := strings.Join(labels, ".")
	if d, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		domain = strings.Clone(d)
	} // else it is a public suffix itself
	return domain + "."
}

// maxSuffix is more labels than the longest public suffix has.
const maxSuffix = 8

// room finds out whether one more alias of a domain fits. s.mu is held.
func (s *Store) room(domain string, now time.Time) error {
	full := func() error {
		switch {
		case s.shares[domain] >= s.share:
			return ErrShare
		case s.names.Size() >= s.size:
			return ErrFull
		}
		return nil
	}
	if full() == nil || now.Before(s.swept.Add(sweepPause)) {
		return full()
	}
	s.swept = now
	s.deleteLapsed(now)
	return full()
}

// put stores an alias, in place of itself without a moment in which it is none, and tells
// the journal. s.mu is held.
func (s *Store) put(name string, e entry) {
	s.shares[e.domain]++
	if old, ok := s.names.LoadAndStore(name, e); ok {
		s.release(old.domain)
	}
	if s.changed != nil {
		select {
		case s.changed <- alias{name, e}:
		default:
			s.missed.Store(true)
		}
	}
}

// release counts an alias of a domain less. s.mu is held.
func (s *Store) release(domain string) {
	if s.shares[domain]--; s.shares[domain] == 0 {
		delete(s.shares, domain)
	}
}

// sweep deletes lapsed aliases.
func (s *Store) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleteLapsed(s.now())
}

// deleteLapsed is sweep while s.mu is held.
func (s *Store) deleteLapsed(now time.Time) {
	s.names.Range(func(name string, e entry) bool {
		if !now.Before(e.until) {
			s.names.Delete(name)
			s.release(e.domain)
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
