package dnshalf

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// Route is a block's view of the route that its directive names. Its methods may be
// called from any goroutine and take no lock.
type Route struct {
	name    string
	mark    gateway.Mark
	block   uintptr      // the server block of its directive
	learns  bool         // a route directive, which puts addresses into sets
	foreign *nft.SetPair // somebody else's sets; nil for our own
	target  atomic.Pointer[target]
}

// target is what a Route stands for once its instance has started.
type target struct {
	half *Half
	cell *atomic.Pointer[Status]
	why  *why
}

// Status is what is known of a route at one moment. It is immutable.
type Status struct {
	Route        gateway.Route
	Down         bool             // its table has no default: the sidecar took it out, or none is there yet
	V4, V6       bool             // which families the route has, whether it is down or not
	Resolvers    []netip.AddrPort // the route's own, of the provider's file or of the WAN
	WANMark      gateway.Mark
	WANResolvers []netip.AddrPort

	pair nft.SetPair // the route's own sets
	noV6 time.Time   // since when its table lacks the IPv6 default; zero: it has it, or is down
}

// errNotStarted is met only by a query that is asked before its server started.
var errNotStarted = errors.New("the dns half has not started")

// Name is the route's name in gateway.yaml.
func (r *Route) Name() string { return r.name }

// Learns notes that the block puts answers' addresses into the route's own sets.
func (r *Route) Learns() { r.learns = true }

// LearnInto notes that the block uses sets of somebody else's table.
func (r *Route) LearnInto(pair nft.SetPair) { r.learns, r.foreign = true, &pair }

// Status tells what is known of the route now. It is never nil; before the
// instance has started, and after the route has left gateway.yaml, it is down.
func (r *Route) Status() *Status {
	if t := r.target.Load(); t != nil {
		return t.cell.Load()
	}
	return &Status{Route: gateway.Route{Name: r.name, Mark: r.mark}, Down: true}
}

// learnTimeout bounds the wait for the kernel. It acknowledges within microseconds;
// a client gives a resolver 5 s.
const learnTimeout = 2 * time.Second

// Learn puts the addresses of an answer for a name into the route's sets and returns
// when the kernel has them. They then stay for at least need; where they would not, they are given want from
// now. Special-use addresses are left out, of the caller's slice too, unless the
// route learns private ones. That ctx ends does not stop it: its answer is cached
// and the next hit relies on the elements.
func (r *Route) Learn(ctx context.Context, name string, addrs []netip.Addr, need, want time.Duration) error {
	t := r.target.Load()
	if t == nil || t.half.kernel == nil {
		return errNotStarted
	}
	st := t.cell.Load()
	if !st.Route.Private {
		addrs = slices.DeleteFunc(addrs, nft.IsSpecial)
	}
	pair := &st.pair
	if r.foreign != nil {
		pair = r.foreign
	}
	if !t.why.has(t.why.id(name), addrs, need) {
		t.note(pair, name, addrs, max(need, want))
	}
	if t.half.kernel.Knows(pair, addrs, need) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), learnTimeout)
	defer cancel()
	if err := t.half.kernel.Learn(ctx, *pair, addrs, need, want); err != nil {
		return err
	}
	t.half.meter(r.name).note(time.Now(), addrs)
	return nil
}

// note accounts for addresses, before the sets are looked at: see why.unjustified.
func (t *target) note(pair *nft.SetPair, name string, addrs []netip.Addr, life time.Duration) {
	t.why.note(name, addrs, life, func(a netip.Addr) bool { return t.half.kernel.Holds(pair, a) })
}

// Lifetime bounds how long what the route learns stays.
func (r *Route) Lifetime() gateway.Lifetime {
	if t := r.target.Load(); t != nil {
		return t.half.Config().Lifetime
	}
	return gateway.Lifetime{Floor: gateway.DefaultFloor, Grace: gateway.DefaultGrace, Ceiling: gateway.DefaultCeiling}
}

func (r *Route) bind(h *Half) { r.target.Store(&target{h, h.cell(r.name), h.why(r.name)}) }
