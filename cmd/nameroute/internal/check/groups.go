package check

import (
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/provider"
)

// checkGroups finds groups of which some tunnels carry IPv6 and others do not.
func checkGroups(cfg *gateway.Config, r *report) {
	for _, route := range cfg.Routes {
		with, without := "", ""
		for _, m := range cfg.Members(route) {
			if m.Egress.Kind != gateway.EgressWireGuard {
				continue
			}
			conf, err := provider.Load(m.Egress.File)
			if err != nil {
				continue // reported by checkProviders
			}
			if _, v6 := conf.Families(); v6 {
				with = m.Name
			} else {
				without = m.Name
			}
		}
		if with != "" && without != "" {
			r.warn("route %s: its member %s has IPv6 and %s has none: names lose their IPv6 addresses when the group moves there, and clients that know them wait", route.Name, with, without)
		}
	}
}

// membersResolvers reports tunnels in a group without resolvers of their own, where an
// upstream names no others.
func (c *upstreamCheck) membersResolvers(at string, route gateway.Route) {
	for _, m := range c.cfg.Members(route) {
		if m.Egress.Kind != gateway.EgressWireGuard {
			continue // other links may be given some
		}
		if conf, err := provider.Load(m.Egress.File); err == nil && len(conf.Resolvers()) == 0 {
			c.wrong("%s: the member %s has no resolvers of its own: names of this block get SERVFAIL while it is in force: write addresses after `upstream %s`", at, m.Name, route.Name)
		}
	}
}
