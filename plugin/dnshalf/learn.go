package dnshalf

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

// learnTimeout bounds the wait for the kernel. It acknowledges within microseconds;
// a client gives a resolver 5 s.
const learnTimeout = 2 * time.Second

// Routable takes out of a slice the special-use addresses, which are never learned
// unless the route learns private ones, and returns what is left of it.
func (r *Route) Routable(addrs []netip.Addr) []netip.Addr {
	if t := r.target.Load(); t != nil && t.cell.Load().Route.Private {
		return addrs
	}
	return slices.DeleteFunc(addrs, firewall.IsSpecial)
}

// Known reports whether all of the routable addresses of an answer for a name are in
// the route's sets for at least need from now, so that the answer may go: the case of
// nearly all answers from the cache. It asks no kernel, and takes no lock nor memory
// where the name has had the addresses before. want is as for Learn.
func (r *Route) Known(name string, addrs []netip.Addr, need, want time.Duration) bool {
	t := r.target.Load()
	if t == nil || t.half.kernel == nil {
		return false
	}
	pair := r.pair(t)
	if !t.half.kernel.Knows(pair, addrs, need) {
		return false
	}
	if t.why.has(t.why.id(name), addrs, need) {
		return true
	}
	// Another name had them. From here on it counts that they are there: see why.unjustified.
	t.note(pair, name, addrs, max(need, want))
	return t.half.kernel.Knows(pair, addrs, need)
}

// Fresh counts the routable addresses that are not in the route's sets.
func (r *Route) Fresh(addrs []netip.Addr) (n int) {
	t := r.target.Load()
	if t == nil || t.half.kernel == nil {
		return 0
	}
	pair := r.pair(t)
	for _, a := range addrs {
		if !t.half.kernel.Holds(pair, a) {
			n++
		}
	}
	return n
}

// Learn puts the routable addresses of an answer for a name into the route's sets and
// returns when the kernel has them. They then stay for at least need; where they would
// not, they are given want from now. That ctx ends does not stop it: its answer is
// cached and the next hit relies on the elements.
func (r *Route) Learn(ctx context.Context, name string, addrs []netip.Addr, need, want time.Duration) error {
	t := r.target.Load()
	if t == nil || t.half.kernel == nil {
		return errNotStarted
	}
	pair := r.pair(t)
	joined := r.joined(t, pair, addrs)
	t.note(pair, name, addrs, max(need, want)) // before the sets are looked at
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), learnTimeout)
	defer cancel()
	if err := t.half.kernel.Learn(ctx, *pair, addrs, need, want); err != nil {
		return err
	}
	t.half.meter(r.name).note(time.Now(), addrs)
	t.half.evict.learned(r.name, joined)
	return nil
}

// joined are the addresses that are not in the route's own sets yet, where flows are to
// be moved to it.
func (r *Route) joined(t *target, pair *nft.SetPair, addrs []netip.Addr) (joined []netip.Addr) {
	if r.foreign != nil || !t.cell.Load().Route.Evict {
		return nil
	}
	for _, a := range addrs {
		if !t.half.kernel.Holds(pair, a) {
			joined = append(joined, a)
		}
	}
	return joined
}

// pair are the sets that the block learns into.
func (r *Route) pair(t *target) *nft.SetPair {
	if r.foreign != nil {
		return r.foreign
	}
	return &t.cell.Load().pair
}

// note accounts for addresses.
func (t *target) note(pair *nft.SetPair, name string, addrs []netip.Addr, life time.Duration) {
	t.why.note(name, addrs, life, func(a netip.Addr) bool { return t.half.kernel.Holds(pair, a) })
}
