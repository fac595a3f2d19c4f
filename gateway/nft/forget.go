package nft

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/puzpuzpuz/xsync/v4"
	"golang.org/x/sys/unix"
)

// Holds reports whether an address is believed to be in its set, also while a loss of
// the set is being undone. It asks no kernel.
func (k *Kernel) Holds(pair *SetPair, a netip.Addr) bool {
	a = plain(a)
	s := (*k.sets.Load())[*pair.of(a)]
	if s == nil {
		return false
	}
	end, ok := s.ends.Load(a)
	return ok && end > k.clock.now()
}

// Doubt makes an address one that is not known to be in its set, although it is: from
// now on Knows is false and Learn asks the kernel, which keeps the element if that
// comes before Forget. It takes no lock that anybody holds for long, and waits for
// nobody. Elements without an end are others', and are not doubted.
func (k *Kernel) Doubt(pair *SetPair, a netip.Addr) {
	a = plain(a)
	if s := (*k.sets.Load())[*pair.of(a)]; s != nil {
		s.ends.Compute(a, func(end int64, ok bool) (int64, xsync.ComputeOp) {
			if end == forever {
				return end, xsync.CancelOp
			}
			return end, xsync.DeleteOp
		})
	}
}

// Forget deletes doubted addresses from their sets. What was learned again since it was
// doubted stays, and so does what is in a set that is not there just now. Flows keep
// their routes.
func (k *Kernel) Forget(ctx context.Context, pair SetPair, addrs []netip.Addr) error {
	addrs = slices.Clone(addrs)
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs) // the second deletion would fail
	for part := range slices.Chunk(addrs, maxPerMessage) {
		err := k.do(ctx, func() error { return k.forget(pair, part) })
		if err != nil {
			return fmt.Errorf("take learned addresses out: %w", err)
		}
	}
	return nil
}

func (k *Kernel) forget(pair SetPair, addrs []netip.Addr) error {
	b := k.begin()
	for _, ref := range []SetRef{pair.Set4, pair.Set6} {
		s := (*k.sets.Load())[ref]
		if s == nil || !s.live.Load() {
			continue
		}
		var elems []element
		for _, a := range addrs {
			a = plain(a)
			if _, again := s.ends.Load(a); *pair.of(a) == ref && !again {
				// The addition is for the deletion, as in prolong.
				elems = append(elems, element{key: a, timeout: time.Second})
			}
		}
		b.take(s, elems)
	}
	if b.empty() {
		return nil
	}
	k.commits.Add(1)
	return k.sock.transact(b)
}

// take deletes elements, which need not be there, from all sets that hold them.
func (b *batch) take(s *learned, elems []element) {
	if len(elems) == 0 {
		return
	}
	for _, ref := range s.refs {
		b.elements(unix.NFT_MSG_NEWSETELEM, ref, s, elems)
		b.elements(unix.NFT_MSG_DELSETELEM, ref, s, elems)
	}
}
