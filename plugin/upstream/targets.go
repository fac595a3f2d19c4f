package upstream

import (
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/plugin/upstream/address"
)

// Status is what a forwarder must know about its route. It is immutable: a change
// is a new value, so that two equal pointers mean that nothing happened.
type Status = dataplane.State

// targets is the set of resolvers that may be queried at the moment, with their marks.
type targets struct {
	status    *Status // what it was made from
	round     uint64  // changes whenever a field below does
	down      bool    // no resolver may be queried
	fallback  bool    // the route is down and its queries go via the WAN
	resolvers []*resolver
}

// targets returns the targets for the route's current status. It takes no lock while
// the status stays the same.
func (u *Upstream) targets() *targets {
	t, s := u.current.Load(), u.status()
	if t != nil && t.status == s {
		return t
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s = u.status() // another goroutine may have seen a newer one meanwhile
	old := u.current.Load()
	if old != nil && old.status == s {
		return old
	}
	t = u.retargetLocked(old, s)
	u.current.Store(t)
	return t
}

// retargetLocked keeps the resolvers that stay in use, with their sockets, and closes
// the others: no probe is sent via an egress that queries do not take.
func (u *Upstream) retargetLocked(old *targets, s *Status) *targets {
	t := &targets{status: s, down: s.Down && s.Route.OnDown != gateway.FallBack}
	t.fallback = s.Down && !t.down
	var keys []key
	if !t.down {
		keys = u.keys(s, t.fallback)
	}
	if old != nil && old.down == t.down && old.fallback == t.fallback && sameKeys(old.resolvers, keys) {
		t.round, t.resolvers = old.round, old.resolvers
		return t
	}
	if old != nil {
		t.round = old.round + 1
	}
	for _, k := range keys {
		t.resolvers = append(t.resolvers, u.resolver(old, k))
	}
	if old != nil {
		for _, r := range old.resolvers {
			if !slices.Contains(t.resolvers, r) {
				r.close()
			}
		}
	}
	if !t.down && len(t.resolvers) == 0 {
		log.Warningf("route %s has no resolvers, its queries fail: %s", u.opts.route, noResolversHint(u.opts.route, t.fallback))
	}
	return t
}

// keys lists the resolvers to use. Addresses of the Corefile are the same via the WAN; a
// provider's own resolvers are only reachable in its tunnel, so the WAN's replace them.
func (u *Upstream) keys(s *Status, fallback bool) []key {
	mark, own, inForce, list := s.Route.Mark, s.Resolvers, s.InForce, u.opts.addresses
	switch {
	case fallback:
		mark, own, inForce = s.WANMark, s.WANResolvers, ""
	case u.opts.handed:
		own = s.Handed
	}
	if len(list) == 0 || u.opts.handed {
		var more []address.Address
		for _, a := range own {
			more = append(more, address.Address{Transport: address.UDP, Addr: a})
		}
		list = slices.Concat(list[:u.opts.handedAt], more, list[u.opts.handedAt:])
	}
	keys := make([]key, 0, len(list))
	for _, a := range list {
		if k := (key{a, mark, inForce}); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	if !fallback {
		slices.SortStableFunc(keys, func(a, b key) int { return lacks(s, a.Addr.Addr()) - lacks(s, b.Addr.Addr()) })
	}
	return keys
}

// lacks is 1 for an address of a family that the route does not have. Those resolvers
// are asked last, not left out, because local networks are reached without the route.
func lacks(s *Status, a netip.Addr) int {
	has := s.V6
	if !a.IsValid() { // a name
		return 0
	}
	if gateway.FamilyOf(a) == gateway.V4 {
		has = s.V4
	}
	if has {
		return 0
	}
	return 1
}

func (u *Upstream) resolver(old *targets, k key) *resolver {
	if old != nil {
		for _, r := range old.resolvers {
			if r.key == k {
				return r
			}
		}
	}
	r := newResolver(k, u.opts.route, &u.opts, u.places(k))
	if u.closed {
		r.close()
	}
	return r
}

func sameKeys(have []*resolver, want []key) bool {
	return slices.EqualFunc(have, want, func(r *resolver, k key) bool { return r.key == k })
}

// inUse reports whether a resolver is among those that may be queried.
func (u *Upstream) inUse(r *resolver) bool { return slices.Contains(u.targets().resolvers, r) }
