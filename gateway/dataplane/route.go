package dataplane

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
)

// Route is one block's use of a route: what it learns, and what it has to know of it.
type Route struct {
	c     *Controller
	name  string
	state *atomic.Pointer[State]
	sets  *nft.SetPair // of another program's nft table; nil: the route's own
}

// Route returns a route, to learn into its own sets. A name that gateway.yaml does not
// have is a route that is down.
func (c *Controller) Route(name string) *Route {
	return &Route{c: c, name: name, state: c.state(name)}
}

// Into returns the same route, to learn into the sets of another program's nft table.
func (r *Route) Into(sets nft.SetPair) *Route {
	into := *r
	into.sets = &sets
	return &into
}

// Name returns the route's name in gateway.yaml.
func (r *Route) Name() string { return r.name }

// State returns what is known of the route now; never nil. It takes no lock.
func (r *Route) State() *State { return r.state.Load() }

// ErrSetFull is returned by Admit for an address that does not fit into its set.
var ErrSetFull = learned.ErrSetFull

// Answer is what a client is about to get.
type Answer struct {
	Name  string       // that was queried, in any case; "" if that is not known
	Addrs []netip.Addr // that the client could connect to; Admit reorders it
	// Need is for how long the addresses must stay routed, Want how long they are given
	// where they would not: see gateway.Lifetime.Of.
	Need, Want time.Duration
}

// Admit returns when all addresses of an answer are in the route's sets, so that it may be
// written, and how many these are: special-use addresses are not learned, unless the route
// has `private: learn`. limit is called where some addresses are new to the sets, and told
// whether these are nearly full; it may refuse them, and may be nil.
//
// Where all are there already, as for nearly all answers from the cache, it takes no lock,
// allocates nothing and does not call the kernel. The end of the context does not stop it:
// the answer is cached, and the next hit relies on the elements.
func (r *Route) Admit(_ context.Context, a Answer, limit func(fresh int, crowded bool) error) (routed int, err error) {
	st := r.state.Load()
	addrs := a.Addrs
	if !st.Route.LearnPrivate {
		addrs = slices.DeleteFunc(addrs, gateway.IsSpecial)
	}
	if len(addrs) == 0 {
		return 0, nil
	}
	pair := r.sets
	if pair == nil {
		pair = &st.pair
	}
	if r.c.kernel.Ensured(pair, a.Name, addrs, a.Need) {
		return len(addrs), nil
	}
	ctx := context.Background()
	short := r.c.kernel.Missing(pair, addrs, a.Need)
	if len(short) == 0 { // only the name is new
		return len(addrs), r.c.kernel.Ensure(ctx, pair, a.Name, addrs, a.Need, a.Want)
	}
	fresh := r.c.kernel.Missing(pair, short, 0)
	if limit != nil && len(fresh) > 0 {
		if err := limit(len(fresh), r.c.kernel.Crowded(pair)); err != nil {
			return len(addrs), err
		}
	}
	if err := r.c.kernel.Ensure(ctx, pair, a.Name, addrs, a.Need, a.Want); err != nil {
		return len(addrs), err
	}
	r.c.meter(r.name).Count(time.Now(), addrs)
	if st.Route.Evict && r.sets == nil {
		r.c.evict.onLearn(r.name, fresh)
	}
	return len(addrs), nil
}

// Admitted reports whether Admit would have nothing to do for an answer whose addresses it
// has returned as routed. It takes no lock and allocates nothing.
func (r *Route) Admitted(a Answer) bool {
	pair := r.sets
	if pair == nil {
		pair = &r.state.Load().pair
	}
	return len(a.Addrs) == 0 || r.c.kernel.Ensured(pair, a.Name, a.Addrs, a.Need)
}
