package dataplane

import (
	"net/netip"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// State is what is known of a route at one moment. It is immutable: two equal pointers
// mean that nothing has changed.
type State struct {
	Route        gateway.Route
	Lifetime     gateway.Lifetime
	Down         bool             // its table has no default: the sidecar withdrew it, or did not add it yet
	V4, V6       bool             // families that the route has, whether it is down or not
	Resolvers    []netip.AddrPort // the route's own: of the provider's file, or what its links were given
	Handed       []netip.AddrPort // what its links were given, where Resolvers are others
	InForce      string           // the members of a group that are in force; "": it is none
	WANMark      gateway.Mark
	WANResolvers []netip.AddrPort

	ResolversFrom string // where Resolvers are from

	pair   nft.SetPair // the route's own sets
	v6Lost time.Time   // since when its table lacks the IPv6 default; zero: it has it, or is down
}

// fallsBack reports whether new flows of a route take the WAN now.
func (c *Controller) fallsBack(route string) bool { return c.state(route).Load().FallsBack() }

// FallsBack reports whether new flows of the route take the WAN, because it is down.
func (st *State) FallsBack() bool { return st.Down && st.Route.OnDown == gateway.FallBack }

// publish stores what is known of a route for the queries. The WAN is never down: a
// resolver on a connected network needs no default, and before the sidecar has run for
// the first time table main leads to all of them.
func (c *Controller) publish(r gateway.Route, conf *provider.Conf, seen policy.RouteState, cfg *gateway.Config, found map[string]resolvers.Found, names string) *State {
	current := c.state(r.Name)
	old := current.Load()
	st := &State{
		Route: r, Lifetime: cfg.Lifetime, V4: seen.Default4, V6: seen.Default6,
		Down:    r.Name != gateway.WAN && !seen.Default4 && !seen.Default6,
		WANMark: cfg.WANRoute().Mark, InForce: names, pair: firewall.Pair(r),
	}
	if st.Down {
		// Its families do not change because it is down.
		st.V4, st.V6 = old.V4, old.V6
		if conf != nil {
			st.V4, st.V6 = conf.Families()
		}
	} else if !seen.Default6 && old.V6 && mayHaveV6(conf) {
		c.awaitV6(st, old, time.Now())
	}
	c.useResolvers(st, cfg, found)
	if reflect.DeepEqual(old, st) {
		return old
	}
	if old.Route.Number != 0 && old.InForce != st.InForce {
		groupMoves.WithLabelValues(r.Name).Inc()
	}
	c.reportChange(old, st)
	current.Store(st)
	return st
}

// reportChange logs that a route went down or came up, once it was seen before.
func (c *Controller) reportChange(old, st *State) {
	switch {
	case st.Route.Name == gateway.WAN || old.Down == st.Down || old.Route.Number == 0:
	case !st.Down:
		c.log.Info("packets and queries of the route pass", "route", st.Route.Name)
	case st.Route.OnDown == gateway.FallBack:
		c.log.Info("new flows and queries of the route take the WAN", "route", st.Route.Name)
	default:
		c.log.Info("packets and queries of the route are blocked", "route", st.Route.Name)
	}
}

// awaitV6 lets a route keep IPv6 for a moment after its default was last seen: a route
// comes up one default at a time, and an AAAA that is answered with no data in between
// would be cached for a minute.
func (c *Controller) awaitV6(st, old *State, now time.Time) {
	st.v6Lost = old.v6Lost
	if st.v6Lost.IsZero() {
		st.v6Lost = now
		time.AfterFunc(c.timers.FamilyLag, c.Kick)
	}
	st.V6 = now.Sub(st.v6Lost) < c.timers.FamilyLag
}

// mayHaveV6 reports what the provider's file says; other egresses may have any family.
func mayHaveV6(conf *provider.Conf) bool {
	if conf == nil {
		return true
	}
	_, v6 := conf.Families()
	return v6
}

// closeUnconfigured marks the routes that have left gateway.yaml as down, for the blocks
// that still name them.
func (c *Controller) closeUnconfigured(cfg *gateway.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, current := range c.states {
		if _, ok := cfg.Route(name); !ok {
			st := *current.Load()
			st.Down, st.Route.OnDown = true, gateway.Block
			current.Store(&st)
		}
	}
}

// state returns the pointer to a route's state. Until the state is known, the route is down.
func (c *Controller) state(name string) *atomic.Pointer[State] {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.states[name]
	if s == nil {
		s = new(atomic.Pointer[State])
		cfg := c.Config()
		r, ok := cfg.Route(name)
		if !ok {
			r = gateway.Route{Name: name}
		}
		r.Number = 0
		s.Store(&State{Route: r, Lifetime: cfg.Lifetime, Down: true, V4: true, V6: true, WANMark: cfg.WANRoute().Mark, pair: firewall.Pair(r)})
		c.states[name] = s
	}
	return s
}
