package nft

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// maxRounds bounds how often a transaction is tried again without the requests that
// cannot succeed, or after a loss was restored.
const maxRounds = 10

// maxGather bounds the addresses of one learning transaction.
const maxGather = 1000

// request is one call of Learn that has something to send.
type request struct {
	pair       SetPair
	addrs      []netip.Addr // a copy: the caller may be gone before it is served
	need, want time.Duration
	done       chan error // of capacity 1
}

// Learn makes sure that addresses are in a route's sets for at least need from
// now, and returns after the kernel has acknowledged it. An element that would end
// before is given want (at least need); none is ever shortened. Where all live long
// enough, nothing is sent, no lock is taken and nothing is allocated. Otherwise
// calls that queue up share a transaction. Errors wrap ErrSetFull, ErrNoSet,
// ErrClosed, the context's, or the kernel's errno; the addresses of a call that
// failed may be partly known from other calls, never falsely.
func (k *Kernel) Learn(ctx context.Context, pair SetPair, addrs []netip.Addr, need, want time.Duration) error {
	if k.known(&pair, addrs, need) {
		return nil
	}
	r := k.pool.Get().(*request)
	r.pair, r.need, r.want = pair, need, max(need, want)
	r.addrs = append(r.addrs[:0], addrs...)
	select {
	case k.requests <- r:
	case <-ctx.Done():
		return fmt.Errorf("learn %v: %w", addrs, ctx.Err())
	case <-k.stopped:
		return ErrClosed
	}
	select {
	case err := <-r.done:
		k.pool.Put(r)
		return err
	case <-ctx.Done():
		return fmt.Errorf("learn %v: %w", addrs, ctx.Err())
	case <-k.stopped:
		return ErrClosed
	}
}

// known reports whether every address lives long enough.
func (k *Kernel) known(pair *SetPair, addrs []netip.Addr, need time.Duration) bool {
	sets := *k.sets.Load()
	until := k.clock.now() + int64(need)
	for _, a := range addrs {
		a = plain(a)
		if s := sets[*pair.of(a)]; s == nil || !s.lives(a, until) {
			return false
		}
	}
	return true
}

// learn serves a request and all that have queued behind it: the batch is whatever
// arrived while the last transaction ran, so nobody waits for a timer.
func (k *Kernel) learn(first *request) {
	requests, n := append(k.gather.requests[:0], first), len(first.addrs)
drain:
	for n < maxGather {
		select {
		case r := <-k.requests:
			requests, n = append(requests, r), n+len(r.addrs)
		default:
			break drain
		}
	}
	k.gather.requests = requests
	k.learning = true
	k.commit(requests)
	k.learning = false
}

// learnLater serves the requests that had to wait for a table.
func (k *Kernel) learnLater() {
	if len(k.later) == 0 {
		return
	}
	requests := k.later
	k.later = nil
	k.learning = true
	k.commit(requests)
	k.learning = false
}
