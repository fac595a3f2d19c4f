package dataplane

import (
	"net/netip"

	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
)

// Holding is what a route has of an address.
type Holding struct {
	Route   string
	Set     string
	Learned bool         // the address is in the set
	Fact    learned.Fact // of that
	Listed  bool         // a prefix of the route's lists, or of its tunnel's peers, covers it
}

// Explain returns what the routes have of an address, in the order of gateway.yaml, and
// whether it is never rerouted.
func (c *Controller) Explain(a netip.Addr) (excluded bool, all []Holding) {
	a = a.Unmap().WithZone("")
	d := c.destinations.Load()
	if d == nil {
		d = &destinations{}
	}
	for _, r := range c.Config().Choices() {
		ref, prefixes := firewall.Pair(r).Set4, d.prefixes[r.Name]
		if a.Is6() {
			ref = firewall.Pair(r).Set6
		}
		h := Holding{Route: r.Name, Set: ref.Name, Listed: prefixes.has(a)}
		if h.Fact, h.Learned = c.kernel.Fact(ref, a); h.Learned || h.Listed {
			all = append(all, h)
		}
	}
	return d.excluded.has(a), all
}
