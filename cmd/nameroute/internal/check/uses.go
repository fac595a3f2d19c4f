package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/probe"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/members"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
)

// Uses returns the resolvers that the blocks query, each once for a route and for what
// its certificate must be.
func Uses(cfg *gateway.Config, core *corefile.File) []probe.Use {
	var uses []probe.Use
	if core == nil {
		return nil
	}
	states, _ := policy.Routes(cfg)
	for _, b := range core.Blocks {
		u := b.Upstream
		if u == nil || u.Config != "" {
			continue
		}
		like := probe.Use{Route: u.Route}
		if !encryption(&like, b) {
			continue // reported with the Corefile
		}
		add := func(text string) {
			one := like
			a, err := address.Parse(text)
			if one.Text, one.Address = text, a; strings.HasPrefix(text, "sdns:") {
				one.Text = a.String()
			}
			if a.Host != "" && len(one.Bootstrap) == 0 {
				one.Bootstrap = servers(cfg, u.Route, states, false)
			}
			if err == nil && !slices.ContainsFunc(uses, one.Same) {
				uses = append(uses, one)
			}
		}
		for _, text := range u.Addresses {
			add(text)
		}
		if handed := slices.Contains(u.Addresses, corefile.HandedOut); handed || len(u.Addresses) == 0 {
			like.Own = u.Route != gateway.WAN || len(cfg.WANResolvers) == 0 || handed
			for _, a := range servers(cfg, u.Route, states, handed) {
				add(a.String())
			}
			route, _ := cfg.Route(u.Route)
			for _, m := range cfg.Members(route) {
				if like.Route = m.Name; route.Name == gateway.WAN {
					break // they have those of the whole WAN
				}
				for _, a := range servers(cfg, m.Name, states, handed) {
					add(a.String())
				}
			}
		}
	}
	return uses
}

// encryption reads the properties of a block's upstream that are about certificates and names;
// it reports false where one is wrong.
func encryption(u *probe.Use, b corefile.Block) bool {
	root := ""
	for _, d := range b.Directives {
		if d.Name == "root" && len(d.Args) == 1 {
			root = d.Args[0]
		}
	}
	for _, p := range b.Upstream.Properties {
		var err error
		switch {
		case p.Name == "bootstrap":
			u.Bootstrap, err = address.ParsePlain(p.Args)
		case slices.Contains(trust.Properties, p.Name):
			err = u.Trust.Property(p.Name, p.Args, root)
		default:
			continue
		}
		if err != nil {
			return false
		}
		u.Settings += fmt.Sprintln(root, p.Name, p.Args)
	}
	return true
}

// servers returns a route's own resolvers, as far as they are known; handed are only those that
// its link was given.
func servers(cfg *gateway.Config, name string, states map[string]policy.RouteState, handed bool) []netip.AddrPort {
	route, _ := cfg.Route(name)
	if route.Group != nil && route.Name != gateway.WAN {
		inForce := members.InForce(cfg, route, states[name].Defaults)
		for _, f := range gateway.Families {
			for _, m := range inForce[f] {
				return servers(cfg, m.Route, states, handed)
			}
		}
		return nil
	}
	if route.Egress.Kind == gateway.EgressWireGuard {
		if conf, err := provider.Load(route.Egress.File); err == nil && !handed {
			return conf.Resolvers()
		}
		return nil
	}
	found, _ := resolvers.Of(cfg, route, states[route.Name]) // checkUpstreams reports the error
	if handed {
		return found.Handed
	}
	return found.Servers
}

// named checks that the addresses of resolvers can be looked up which are named.
func (c *upstreamCheck) named(at string, u *corefile.Upstream, route gateway.Route, names []string) {
	if len(names) == 0 {
		return
	}
	for _, p := range u.Properties {
		if p.Name == "bootstrap" {
			all, _ := address.ParsePlain(p.Args) // checkCorefile reports the error
			for _, a := range all {
				c.address(at+": bootstrap", route, a)
			}
			return
		}
	}
	what := fmt.Sprintf("%s: %s is looked up at the resolvers of route %s, and", at, strings.Join(names, ", "), route.Name)
	switch {
	case len(servers(c.cfg, route.Name, c.states, false)) > 0:
	case route.Egress.Kind == gateway.EgressWireGuard:
		if _, err := provider.Load(route.Egress.File); err == nil { // else checkProviders reports it
			c.wrong("%s %s has no `DNS =`: names of this block get SERVFAIL: add it, or `bootstrap ADDRESS` to the block", what, route.Egress.File)
		}
	default:
		c.r.unknown("%s none is known yet: `bootstrap ADDRESS` in the block names one", what)
	}
}
