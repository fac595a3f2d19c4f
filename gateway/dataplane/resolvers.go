package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// findResolvers returns the current resolvers of the routes without a provider's file, else
// the last known ones of the same links: what renews a lease empties the file first, or for
// good when the line is down. Where there never was one, `upstream wan` without addresses
// answers SERVFAIL and says why. c.work is held.
func (c *Controller) findResolvers(cfg *gateway.Config, seen map[string]policy.RouteState) map[string]resolvers.Found {
	found, err := c.system.Resolvers(cfg, seen)
	now := map[string]resolvers.Found{}
	for _, r := range cfg.AllRoutes() {
		f, last := found[r.Name], c.found[r.Name]
		switch {
		case len(f.Servers) > 0:
			c.reportResolvers(r.Name, last.Servers, f.Servers)
		case len(last.Servers) > 0 && (len(f.Links) == 0 || slices.Equal(f.Links, last.Links)):
			if f = last; r.Name == gateway.WAN && err != nil {
				err = fmt.Errorf("%w: the last ones stay in use", err)
			}
		}
		now[r.Name] = f
	}
	c.warnOnce("WAN resolvers", err)
	c.found = now
	return now
}

func (c *Controller) reportResolvers(route string, old, servers []netip.AddrPort) {
	switch {
	case len(old) == 0 || slices.Equal(old, servers):
	case route == gateway.WAN:
		c.log.Info("the WAN's resolvers have changed", "resolvers", servers)
	default:
		c.log.Info("the resolvers of the route have changed", "route", route, "resolvers", servers)
	}
}

// useResolvers stores a route's own resolvers in its state: those of the provider's file, or
// those that its links were given; of a group those of the first member in force.
func (c *Controller) useResolvers(st *State, cfg *gateway.Config, found map[string]resolvers.Found) {
	st.WANResolvers = found[gateway.WAN].Servers
	r := st.Route
	if r.Group != nil && r.Name != gateway.WAN {
		first, _, _ := strings.Cut(st.InForce, ", ")
		all := cfg.Members(r)
		i := max(0, slices.IndexFunc(all, func(m gateway.Route) bool { return m.Name == first }))
		if i >= len(all) {
			return
		}
		r = all[i]
	}
	if conf := c.providers.Load(r).Conf; conf != nil {
		if st.Resolvers = conf.Resolvers(); len(st.Resolvers) > 0 {
			st.ResolversFrom = r.Egress.File
		}
		return
	}
	f := found[r.Name]
	st.Resolvers, st.Handed, st.ResolversFrom = f.Servers, f.Handed, f.Source
}
