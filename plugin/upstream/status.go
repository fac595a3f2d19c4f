package upstream

import (
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
)

// Status is what a forwarder must know about its route. It is immutable: a change
// is a new value, so that two equal pointers mean that nothing happened.
type Status struct {
	Route        gateway.Route
	Down         bool             // the route has no default, of either family
	V4, V6       bool             // whether the route has a default of that family
	Resolvers    []netip.AddrPort // the route's own
	WANMark      gateway.Mark
	WANResolvers []netip.AddrPort
}
