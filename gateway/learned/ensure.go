package learned

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
)

// Errors that callers tell apart.
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("nft: closed")
	// ErrSetFull is returned for an address that does not fit into its set.
	ErrSetFull = errors.New("set is full")
)

// Missing returns the addresses that are not in their sets for at least need from now, as
// far as is known: while a loss is being undone, what will be put back is not missing. It
// takes no lock, asks no kernel, and allocates nothing where nothing is missing.
func (s *Store) Missing(pair *nft.SetPair, addrs []netip.Addr, need time.Duration) (missing []netip.Addr) {
	sets := pairSets{all: *s.sets.Load(), pair: pair}
	now := s.clock.now()
	for _, a := range addrs {
		p := plain(a)
		if set := sets.of(p); set != nil {
			if r, ok := set.load(p, now); ok && r.end >= now+int64(need) {
				continue
			}
		}
		missing = append(missing, a)
	}
	return missing
}

// pairSets finds the sets of a pair, each once.
type pairSets struct {
	all       map[nft.SetRef]*set
	pair      *nft.SetPair
	four, six *set
}

func (p *pairSets) of(a netip.Addr) *set {
	if a.Is4() {
		if p.four == nil {
			p.four = p.all[p.pair.Set4]
		}
		return p.four
	}
	if p.six == nil {
		p.six = p.all[p.pair.Set6]
	}
	return p.six
}

// Ensure makes sure that the addresses of an answer for a name are in their sets for at
// least need from now, and returns after the kernel has acknowledged it. An element that
// would expire before is given want (at least need); none is ever shortened. The name is
// accounted for as long; an empty one means names that are not known, with which an
// address stays until it lapses.
//
// Where all that is so already, as with nearly all answers from a cache, no lock is taken,
// nothing sent and nothing allocated. Otherwise calls that wait share a transaction.
// A call that was queued is served even when its context, or Options.Timeout, has ended.
// Errors wrap ErrSetFull, nft.ErrNoSet, ErrClosed, the context's, or the kernel's errno;
// the addresses of a call that failed may be known from other calls, never falsely.
func (s *Store) Ensure(ctx context.Context, pair *nft.SetPair, name string, addrs []netip.Addr, need, want time.Duration) error {
	if s.Ensured(pair, name, addrs, need) {
		return nil
	}
	want = max(need, want)
	ref := nameRef{id: s.id(name), name: strings.ToLower(strings.Clone(name)), end: s.clock.now() + int64(want)}
	if s.attach(pair, ref, addrs, need) {
		return nil
	}
	r := s.pool.Get().(*request)
	r.pair, r.name, r.need, r.want = *pair, ref, need, want
	r.addrs = append(r.addrs[:0], addrs...)
	r.timeout.Reset(s.options.Timeout)
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return fmt.Errorf("learn %v: %w", addrs, ctx.Err())
	case <-r.timeout.C:
		return fmt.Errorf("learn %v: %w", addrs, context.DeadlineExceeded)
	case <-s.stopped:
		return ErrClosed
	}
	select {
	case err := <-r.done:
		r.timeout.Stop()
		s.pool.Put(r)
		return err
	case <-ctx.Done():
		return fmt.Errorf("learn %v: %w", addrs, ctx.Err())
	case <-r.timeout.C:
		return fmt.Errorf("learn %v: %w", addrs, context.DeadlineExceeded)
	case <-s.stopped:
		return ErrClosed
	}
}

// Ensured reports whether nothing is left to do for Ensure.
func (s *Store) Ensured(pair *nft.SetPair, name string, addrs []netip.Addr, need time.Duration) bool {
	sets := pairSets{all: *s.sets.Load(), pair: pair}
	id, until := s.id(name), s.clock.now()+int64(need)
	for _, a := range addrs {
		a = plain(a)
		set := sets.of(a)
		if set == nil {
			return false
		}
		r, ok := set.records.Load(a)
		if !ok || r.end < until || !r.knows(id, until) || !set.trusted.Load() {
			return false
		}
	}
	return true
}

// attach accounts for a name where another one has brought all of the addresses, and
// reports whether that is so.
func (s *Store) attach(pair *nft.SetPair, name nameRef, addrs []netip.Addr, need time.Duration) bool {
	sets := *s.sets.Load()
	now := s.clock.now()
	for _, a := range addrs {
		a = plain(a)
		set := sets[*pair.Of(a)]
		if set == nil || !set.attach(a, now+int64(need), name, now) {
			return false
		}
	}
	return true
}

// id is a number for a name in any case.
func (s *Store) id(name string) uint64 {
	var buf [256]byte
	b := append(buf[:0], name...)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return maphash.Bytes(s.seed, b)
}

// Names lists the names that an address was learned for; nil where not all are known.
func (s *Store) Names(ref nft.SetRef, a netip.Addr) []string {
	set := (*s.sets.Load())[ref]
	if set == nil {
		return nil
	}
	now := s.clock.now()
	r, ok := set.load(plain(a), now)
	if !ok {
		return nil
	}
	return r.currentNames(now)
}

// Remaining returns how much longer an address surely stays in a set. ok is false for one
// that is not known to be there. It asks no kernel.
func (s *Store) Remaining(ref nft.SetRef, a netip.Addr) (left time.Duration, ok bool) {
	set := (*s.sets.Load())[ref]
	if set == nil || !set.trusted.Load() {
		return 0, false
	}
	now := s.clock.now()
	r, ok := set.load(plain(a), now)
	if !ok {
		return 0, false
	}
	return time.Duration(r.end - now), true
}

// Learned lists what a set holds as far as it expires. It asks no kernel; while a loss is
// being undone, it is what will be put back.
func (s *Store) Learned(ref nft.SetRef) []nft.Element {
	set := (*s.sets.Load())[ref]
	if set == nil {
		return nil
	}
	now := s.clock.now()
	all := make([]nft.Element, 0, set.records.Size())
	set.records.Range(func(a netip.Addr, r record) bool {
		if r.end > now && r.end != forever {
			all = append(all, nft.Element{Addr: a, Left: time.Duration(r.end - now)})
		}
		return true
	})
	return all
}

// Changes counts the transactions that have changed learned elements since Open, by which
// a caller tells whether there is something new to save.
func (s *Store) Changes() uint64 { return s.commits.Load() }
