package dnshalf

import (
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
)

// prefixes are what the route's lists of prefixes hold now. A list that cannot be
// read has its last good content, so that no prefix loses its route by a bad file.
func (h *Half) prefixes(r gateway.Route) []netip.Prefix {
	if len(r.Prefixes) == 1 {
		return h.lists.Prefixes(r.Prefixes[0]) // no copy of what may be large
	}
	var all []netip.Prefix
	for _, list := range r.Prefixes {
		all = append(all, h.lists.Prefixes(list)...)
	}
	return all
}
