package learned

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/puzpuzpuz/xsync/v4"
)

// lapsedFor is for how long an element that has lapsed is known. A flow that began in its
// last moments is seen only after it, and brings it back.
func (s *Store) lapsedFor() time.Duration { return 2 * s.options.SweepInterval }

// Ending returns the addresses of a pair of sets that expire within a time from now or
// have done so just now, but for those that Prolong would not prolong any more.
func (s *Store) Ending(pair nft.SetPair, within, most time.Duration) map[netip.Addr]bool {
	now := s.clock.now()
	lapsed := now - int64(s.lapsedFor())
	ending := map[netip.Addr]bool{}
	for _, ref := range []nft.SetRef{pair.Set4, pair.Set6} {
		set := (*s.sets.Load())[ref]
		if set == nil {
			continue
		}
		set.records.Range(func(a netip.Addr, r record) bool {
			if r.end > lapsed && r.end < now+int64(within) && r.lasts(now, most) {
				ending[a] = true
			}
			return true
		})
	}
	return ending
}

// lasts reports whether Prolong may prolong an element: without end where its names are
// known, because Prune takes it away when they leave the lists, else for most beyond the
// last answer's need.
func (r *record) lasts(now int64, most time.Duration) bool {
	return !r.unknown || r.asked+int64(most) > now
}

// prolonged returns the record with a later end for the element and for the names that it
// had until it lapsed.
func (r record) prolonged(end, now int64) record {
	current := min(now, r.namesEnd-1)
	names := make([]nameRef, 0, len(r.names))
	for _, n := range r.names {
		if n.end > current {
			n.end = max(n.end, end)
			names = append(names, n)
		}
	}
	if r.end = max(r.end, end); len(names) == 0 {
		return record{end: r.end, asked: r.asked, unknown: true}
	}
	r.names, r.namesEnd = names, max(r.namesEnd, end)
	return r
}

// Prolong gives addresses that are in use another time from now, with the names that they
// were learned for. It brings back what lapsed just now, where there is room, and nothing
// that was pruned.
func (s *Store) Prolong(ctx context.Context, pair nft.SetPair, addrs []netip.Addr, want time.Duration) error {
	for part := range slices.Chunk(addrs, pruneBatch) {
		err := s.do(ctx, func() error {
			return errors.Join(s.prolong(pair, part, want, false), s.prolong(pair, part, want, true))
		})
		if err != nil {
			return fmt.Errorf("prolong %d addresses: %w", len(addrs), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(prunePause):
		}
	}
	return nil
}

// prolong prolongs what has lapsed, or what has not.
func (s *Store) prolong(pair nft.SetPair, addrs []netip.Addr, want time.Duration, lapsed bool) error {
	now := s.clock.now()
	end := now + int64(want)
	sets := *s.sets.Load()
	changes := make([]nft.Change, 0, 2)
	for _, ref := range []nft.SetRef{pair.Set4, pair.Set6} {
		set := sets[ref]
		if set == nil || !set.trusted.Load() || s.broken || lapsed && set.paused > now {
			continue // it is tried again soon
		}
		var elems []nft.Element
		for _, a := range addrs {
			if r, ok := set.records.Load(a); ok && *pair.Of(a) == ref && r.end < end && r.end <= now == lapsed {
				elems = append(elems, nft.Element{Addr: a, Left: want})
			}
		}
		if len(elems) > 0 {
			changes = append(changes, nft.Change{Set: ref, Op: nft.Put, Elems: elems})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	s.commits.Add(1)
	if err := s.conn.Commit(changes); err != nil {
		s.broken = s.broken || errors.Is(err, nft.ErrBroken)
		s.handleRefusal(err)
		return err
	}
	for _, c := range changes {
		for _, e := range c.Elems {
			sets[c.Set].records.Compute(e.Addr, func(r record, ok bool) (record, xsync.ComputeOp) {
				if !ok {
					return r, xsync.CancelOp
				}
				return r.prolonged(end, now), xsync.UpdateOp
			})
		}
	}
	return nil
}
