package learned

import (
	"context"
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
)

// Prune deletes the addresses of a pair of sets all of whose names are known and none of
// them listed, and returns how many. Flows keep their routes. Permanent elements belong to
// other programs and stay, as does what is in a set that is not there now.
func (s *Store) Prune(ctx context.Context, pair nft.SetPair, listed func(name string) bool) (n int, err error) {
	for _, ref := range []nft.SetRef{pair.Set4, pair.Set6} {
		for {
			set := (*s.sets.Load())[ref]
			if set == nil {
				break
			}
			candidates := set.unlisted(s.clock.now(), listed, pruneBatch)
			if len(candidates) == 0 {
				break
			}
			var taken int // only read without an error: where ctx has ended, the owner may still write it
			err := s.do(ctx, func() (err error) {
				taken, err = s.prune(set, candidates, listed)
				return err
			})
			if err != nil {
				return n, fmt.Errorf("prune set %s: %w", ref, err)
			}
			n += taken
			select {
			case <-ctx.Done():
				return n, ctx.Err()
			case <-time.After(prunePause):
			}
		}
	}
	return n, ctx.Err()
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

// prune takes out those of the candidates that are still unlisted. No request is served
// between the decision and the deletion.
func (s *Store) prune(set *set, candidates []netip.Addr, listed func(string) bool) (int, error) {
	now := s.clock.now()
	var elems []nft.Element
	for _, a := range candidates {
		if set.take(a, now, listed) {
			elems = append(elems, nft.Element{Addr: a})
		}
	}
	if len(elems) == 0 || !set.trusted.Load() {
		return len(elems), nil
	}
	s.commits.Add(1)
	return len(elems), s.conn.Commit([]nft.Change{{Set: set.ref, Op: nft.Take, Elems: elems}})
}
