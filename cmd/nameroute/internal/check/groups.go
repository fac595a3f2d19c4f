package check

import (
	"net/netip"
	"net/url"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// checkGroups finds groups of which some tunnels carry IPv6 and others do not.
func checkGroups(cfg *gateway.Config, r *report) {
	for _, route := range cfg.Routes {
		if route.Group != nil {
			checkGroupProbes(cfg, route, r)
		}
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

// checkUplinks finds interfaces of the WAN that cannot be used, or whose probes have nothing to
// ask.
func checkUplinks(cfg *gateway.Config, all links, withDefault []string, r *report) {
	for i, u := range cfg.WANUplinks {
		switch found, _ := resolvers.Of(cfg, cfg.Members(cfg.WANRoute())[i], policy.RouteState{}); {
		case all.find(u.Link) == nil:
			r.warn("wan: %s (it is used as soon as it appears)", all.missing(u.Link))
		case len(u.NextHops) == 0 && !slices.Contains(withDefault, u.Link):
			r.warn("wan: table main has no default route via %s: it is used as soon as there is one, or with next_hop:", u.Link)
		case len(found.Servers)+len(cfg.WANResolvers) == 0 && slices.ContainsFunc(cfg.WANGroup.Probes, func(p gateway.Probe) bool { return p.Kind == gateway.ProbeDNS && !p.Addr.IsValid() }):
			r.warn("wan: %s was given no resolvers that a probe could ask: a provider that goes silent is not noticed: write wan_resolvers:, or a probe: such as [ping 192.0.2.1]", u.Link)
		}
	}
}

// checkGroupProbes finds probes that find out nothing, or too late.
func checkGroupProbes(cfg *gateway.Config, route gateway.Route, r *report) {
	asks := func(p gateway.Probe) bool { return p.Kind == gateway.ProbeDNS && !p.Addr.IsValid() }
	for _, m := range cfg.Members(route) {
		if m.Egress.Kind != gateway.EgressWireGuard || !slices.ContainsFunc(route.Group.Probes, asks) {
			continue
		}
		if conf, err := provider.Load(m.Egress.File); err == nil && len(conf.Resolvers()) == 0 {
			r.warn("route %s: its member %s has no resolver that the probe could ask, so it finds out nothing there: write `dns NAME ADDRESS`, or add `DNS =` to %s", route.Name, m.Name, m.Egress.File)
		}
	}
	if len(route.Group.Probes) > 0 && !slices.ContainsFunc(route.Group.Probes, func(p gateway.Probe) bool { return p.Kind != gateway.ProbeHandshake }) {
		r.ok("route %s: handshakes alone tell of a silent member after handshake_limit, 3m by default, and nothing of one that forwards nothing: add a probe such as `dns example.org`", route.Name)
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

// checkProbes finds probes that need resolvers of a tunnel's own where it has none.
func checkProbes(cfg *gateway.Config, r *report) {
	for _, route := range cfg.Routes {
		probes, through := route.Probing.Probes, []gateway.Route{route}
		if route.Group != nil {
			probes, through = route.Group.Probes, cfg.Members(route)
		}
		for _, p := range probes {
			if !needsResolver(p) {
				continue
			}
			for _, t := range through {
				if t.Egress.Kind != gateway.EgressWireGuard {
					continue // other links may be given some
				}
				if conf, err := provider.Load(t.Egress.File); err == nil && len(conf.Resolvers()) == 0 {
					r.warn("route %s: the probe %s asks resolvers of %s, and %s has no `DNS =`: nothing is found out: write an address into the probe", route.Name, p, t.Name, t.Egress.File)
				}
			}
		}
	}
}

// needsResolver reports whether a probe is sent to what resolvers of the route itself say, or
// to these.
func needsResolver(p gateway.Probe) bool {
	switch p.Kind {
	case gateway.ProbeDNS:
		return !p.Addr.IsValid()
	case gateway.ProbeHTTP:
		u, err := url.Parse(p.URL)
		if err != nil {
			return false // gateway.yaml has been checked
		}
		_, err = netip.ParseAddr(u.Hostname())
		return err != nil
	}
	return false
}
