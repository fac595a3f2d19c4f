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

// Move moves addresses of a pair of sets to the pair that `to` returns for the names that
// they were learned for (nil where these are not all known), and returns how many; where it
// returns nil, an address stays. Each is in one of the sets at any time. The rest of its
// life and its names move with it.
func (s *Store) Move(ctx context.Context, from nft.SetPair, to func(names []string) *nft.SetPair) (n int, err error) {
	for _, ref := range []nft.SetRef{from.Set4, from.Set6} {
		set := (*s.sets.Load())[ref]
		if set == nil {
			continue
		}
		targets := map[nft.SetRef][]netip.Addr{}
		now := s.clock.now()
		set.records.Range(func(a netip.Addr, r record) bool {
			if r.end > now+int64(nearEnd) && r.end != forever {
				if pair := to(r.currentNames(now)); pair != nil && *pair.Of(a) != ref {
					targets[*pair.Of(a)] = append(targets[*pair.Of(a)], a)
				}
			}
			return true
		})
		for target, addrs := range targets {
			for part := range slices.Chunk(addrs, pruneBatch) {
				var moved int // is still written where ctx ends first
				err := s.do(ctx, func() (err error) {
					moved, err = s.move(ref, target, part)
					return err
				})
				if err != nil {
					return n, fmt.Errorf("move addresses from set %s to %s: %w", ref, target, err)
				}
				n += moved
				select {
				case <-ctx.Done():
					return n, ctx.Err()
				case <-time.After(prunePause):
				}
			}
		}
	}
	return n, nil
}

// move moves addresses from one set to another in one transaction.
func (s *Store) move(from, to nft.SetRef, addrs []netip.Addr) (int, error) {
	source, err := s.ready(from)
	if err != nil {
		return 0, err
	}
	target, err := s.ready(to)
	if err != nil {
		return 0, err
	}
	now := s.clock.now()
	put, take := nft.Change{Set: to, Op: nft.Put}, nft.Change{Set: from, Op: nft.Take}
	var records []record
	for _, a := range addrs {
		r, ok := source.load(a, now)
		if !ok || r.end == forever {
			continue
		}
		end := r.end
		if there, ok := target.load(a, now); ok {
			end = max(end, there.end)
		}
		if end != forever {
			put.Elems = append(put.Elems, nft.Element{Addr: a, Left: time.Duration(end - now)})
		}
		take.Elems = append(take.Elems, nft.Element{Addr: a})
		records = append(records, r)
	}
	if len(records) == 0 {
		return 0, nil
	}
	s.commits.Add(1)
	if err := s.conn.Commit([]nft.Change{put, take}); err != nil {
		s.broken = s.broken || errors.Is(err, nft.ErrBroken)
		s.handleRefusal(err)
		return 0, err
	}
	for i, e := range take.Elems {
		target.merge(e.Addr, records[i], now)
		source.records.Delete(e.Addr)
	}
	return len(records), nil
}

// merge makes an acknowledged element known, as it was known in another set.
func (s *set) merge(a netip.Addr, moved record, now int64) {
	s.records.Compute(a, func(r record, ok bool) (record, xsync.ComputeOp) {
		if !ok || r.end <= now {
			return moved, xsync.UpdateOp
		}
		r.end, r.asked = max(r.end, moved.end), max(r.asked, moved.asked)
		if moved.unknown {
			return record{end: r.end, asked: r.asked, unknown: true}, xsync.UpdateOp
		}
		for _, n := range moved.names {
			r = r.withName(n, now)
		}
		return r, xsync.UpdateOp
	})
}
