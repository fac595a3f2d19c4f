package dataplane

import (
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// destinations is what the nft table in force says of destinations besides what is learned.
// It is immutable.
type destinations struct {
	excluded ranges            // never rerouted
	prefixes map[string]ranges // of lists, by route
	rest     string            // the route of what no list names; "": table main
}

// all are the addresses of both families.
var all = ranges{
	span.Merge([]netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}, gateway.V4),
	span.Merge([]netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), 0)}, gateway.V6),
}

// covered returns what a route takes besides what it has learned.
func (d *destinations) covered(route string) ranges {
	if route == d.rest {
		return all
	}
	return d.prefixes[route]
}

func destinationsOf(s firewall.Spec) *destinations {
	d := &destinations{excluded: ranges{s.Excluded(gateway.V4), s.Excluded(gateway.V6)}, prefixes: map[string]ranges{}}
	if r, ok := s.Config.ClientsDefault(); ok {
		d.rest = r.Name
	}
	for _, r := range s.Config.Choices() {
		d.prefixes[r.Name] = ranges{span.Merge(s.Prefixes[r.Name], gateway.V4), span.Merge(s.Prefixes[r.Name], gateway.V6)}
	}
	return d
}

// Takes reports whether new packets to an address take this route: it is the first in
// gateway.yaml that has learned the address or has a list with it, or takes the rest. Local and special-use
// addresses take none, unless the route learns private ones. It takes no lock.
func (r *Route) Takes(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if r.sets != nil {
		st := r.state.Load()
		return (st.Route.LearnPrivate || !gateway.IsSpecial(a)) && r.c.holds(r.sets, a)
	}
	d := r.c.destinations.Load()
	if d == nil || d.excluded.has(a) {
		return false
	}
	special := gateway.IsSpecial(a)
	for _, route := range r.c.Config().Choices() {
		if special && !route.TakesPrivate() {
			continue
		}
		pair, prefixes := firewall.Pair(route), d.prefixes[route.Name]
		if prefixes.has(a) || r.c.holds(&pair, a) {
			return route.Name == r.name
		}
	}
	return d.rest != "" && r.name == d.rest
}

// holds reports whether an address is learned into a pair of sets.
func (c *Controller) holds(pair *nft.SetPair, a netip.Addr) bool {
	return len(c.kernel.Missing(pair, []netip.Addr{a}, 0)) == 0
}
