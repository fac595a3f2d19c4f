package dnshalf

import (
	"errors"
	"net/netip"
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

// Lifetime bounds how long what the route learns stays.
func (r *Route) Lifetime() gateway.Lifetime {
	if t := r.target.Load(); t != nil {
		return t.half.Config().Lifetime
	}
	return gateway.Lifetime{Floor: gateway.DefaultFloor, Grace: gateway.DefaultGrace, Ceiling: gateway.DefaultCeiling}
}

func (r *Route) bind(h *Half) { r.target.Store(&target{h, h.cell(r.name), h.why(r.name)}) }
