package nft

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Remember tells what an earlier process had learned into a set and stored, before the
// Apply or CheckSets that first reads the set. That puts back what the kernel does not
// have (it was rebooted), the elements that end last first; of what the kernel has, its
// own times count. Elements without an end are ignored, and so is all for a set that is
// already followed.
func (k *Kernel) Remember(ctx context.Context, ref SetRef, elems []Element) error {
	return k.do(ctx, func() error {
		s := k.track(ref)
		if s.live.Load() {
			return nil
		}
		now := k.clock.now()
		for _, e := range elems {
			if e.Addr.IsValid() && e.Expires > 0 {
				s.ends.LoadOrStore(plain(e.Addr), now+int64(e.Expires))
			}
		}
		return nil
	})
}

// Learned lists what a set holds as far as it has an end, from the expiry table: it
// asks no kernel. While a loss is being undone, it is what will be put back.
func (k *Kernel) Learned(ref SetRef) []Element {
	s := (*k.sets.Load())[ref]
	if s == nil {
		return nil
	}
	now := k.clock.now()
	out := make([]Element, 0, s.ends.Size())
	s.ends.Range(func(a netip.Addr, end int64) bool {
		if end > now && end != forever {
			out = append(out, Element{Addr: a, Expires: time.Duration(end - now)})
		}
		return true
	})
	return out
}

// Changes counts the transactions that have changed learned elements since Open, so
// that a caller can tell whether there is something new to store.
func (k *Kernel) Changes() uint64 { return k.commits.Load() }

// fill puts elements back into a set, in parts, and calls between after each. A set
// that is full keeps what it has: what does not fit is forgotten, and learned again
// when its name is next asked for.
func (k *Kernel) fill(s *learned, elems []held, between func()) (put int, err error) {
	for part := range slices.Chunk(elems, maxPerMessage) {
		b := k.begin()
		for _, ref := range s.refs {
			b.putBack(ref, s, part, k.clock.now())
		}
		err := k.sock.transact(b)
		switch {
		case errors.Is(err, unix.ENFILE):
			for _, h := range part {
				s.ends.Delete(h.addr)
			}
		case err != nil:
			return put, err
		default:
			put += len(part)
		}
		between()
	}
	return put, nil
}
