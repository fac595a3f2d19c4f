package dataplane

import (
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
)

// Holding is what a route has of an address.
type Holding struct {
	Route   string
	Set     nft.SetRef
	Learned bool         // the address is in the set
	Fact    learned.Fact // of that
	Listed  bool         // a prefix of the route's lists, or of its tunnel's peers, covers it
}

// Explain returns what the routes have of an address, in the order in which they are tried,
// and whether it is never rerouted.
func (c *Controller) Explain(a netip.Addr) (excluded bool, all []Holding) {
	a = a.Unmap().WithZone("")
	d := c.destinations.Load()
	for _, ref := range c.ownSets(gateway.FamilyOf(a)) {
		ref.Fact, ref.Learned = c.kernel.Fact(ref.Set, a)
		if d != nil {
			prefixes := d.prefixes[ref.Route]
			ref.Listed = prefixes.has(a)
		}
		if ref.Learned || ref.Listed {
			all = append(all, ref)
		}
	}
	return d != nil && d.excluded.has(a), all
}

// ownSets returns the sets of the routes in our nft table.
func (c *Controller) ownSets(f gateway.Family) (all []Holding) {
	for _, r := range c.Config().Choices() {
		pair := firewall.Pair(r)
		ref := pair.Set4
		if f == gateway.V6 {
			ref = pair.Set6
		}
		all = append(all, Holding{Route: r.Name, Set: ref})
	}
	return all
}
