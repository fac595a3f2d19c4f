package learned

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
)

const (
	// pruneBatch bounds the addresses that one transaction deletes, for which an answer
	// may have to wait.
	pruneBatch = 250
	prunePause = 2 * time.Millisecond // between two of them
	// maxPruneTries bounds how often a set is pruned again after it failed.
	maxPruneTries = 3
)

// Prune deletes the addresses of a pair of sets all of whose names are known and none of
// them listed, and returns how many. Flows keep their routes. Permanent elements belong to
// other programs and stay. Of a set that is not there, the addresses are not put back.
func (s *Store) Prune(ctx context.Context, pair nft.SetPair, listed func(name string) bool) (n int, err error) {
	for _, ref := range []nft.SetRef{pair.Set4, pair.Set6} {
		pruned, err := s.pruneSet(ctx, ref, listed)
		n += pruned
		if err != nil {
			return n, fmt.Errorf("prune set %s: %w", ref, err)
		}
	}
	return n, ctx.Err()
}

// pruneSet is Prune of one set. What fails is tried again after the owner goroutine has
// restored the set or the connection, which it does before the next call.
func (s *Store) pruneSet(ctx context.Context, ref nft.SetRef, listed func(string) bool) (n int, err error) {
	for failed := 0; ; {
		set := (*s.sets.Load())[ref]
		if set == nil {
			return n, nil
		}
		candidates := set.unlisted(s.clock.now(), listed, pruneBatch)
		if len(candidates) == 0 {
			return n, nil
		}
		var pruned int // is still written where ctx ends first
		err := s.do(ctx, func() (err error) {
			pruned, err = s.prune(ref, candidates, listed)
			return err
		})
		if err == nil {
			n += pruned
		} else if failed++; failed == maxPruneTries || ctx.Err() != nil {
			return n, err
		}
		select {
		case <-ctx.Done():
			return n, ctx.Err()
		case <-time.After(prunePause):
		}
	}
}

// unlisted finds at most limit addresses none of whose names is listed.
func (s *set) unlisted(now int64, listed func(string) bool, limit int) (found []netip.Addr) {
	s.records.Range(func(a netip.Addr, r record) bool {
		if r.end > now && r.unlisted(now, listed) {
			found = append(found, a)
		}
		return len(found) < limit
	})
	return found
}

// prune deletes those of the candidates that are still unlisted. No request is served
// between the decision and the deletion. When it fails, the records are there again, but
// the set is not trusted: what the kernel did may not be known.
func (s *Store) prune(ref nft.SetRef, candidates []netip.Addr, listed func(string) bool) (int, error) {
	set, err := s.ready(ref)
	if errors.Is(err, nft.ErrNoSet) {
		set = (*s.sets.Load())[ref]
	} else if err != nil {
		return 0, err
	}
	if set == nil {
		return 0, nil
	}
	now := s.clock.now()
	var elems []nft.Element
	var records []record
	for _, a := range candidates {
		if r, taken := set.take(a, now, listed); taken {
			elems, records = append(elems, nft.Element{Addr: a}), append(records, r)
		}
	}
	if len(elems) == 0 || err != nil {
		return len(elems), nil
	}
	s.commits.Add(1)
	if err := s.conn.Commit([]nft.Change{{Set: ref, Op: nft.Take, Elems: elems}}); err != nil {
		for i, e := range elems {
			set.records.Store(e.Addr, records[i])
		}
		set.distrust()
		s.broken = s.broken || errors.Is(err, nft.ErrBroken)
		return 0, err
	}
	return len(elems), nil
}
