package dataplane

import (
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/members"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
)

// inForce returns the members of a group that the sidecar shows in its table, and adds them
// to the spec.
func inForce(spec *firewall.Spec, r gateway.Route, seen policy.RouteState) firewall.InForce {
	if r.Group == nil {
		return nil
	}
	found := firewall.InForce(members.InForce(spec.Config, r, seen.Defaults))
	spec.InForce[r.Name] = found
	return found
}

// namesOf names the members, for what depends on which they are.
func namesOf(found firewall.InForce) string {
	var words []string
	for _, f := range gateway.Families {
		for _, m := range found[f] {
			if !slices.Contains(words, m.Route) {
				words = append(words, m.Route)
			}
		}
	}
	return strings.Join(words, ", ")
}

// confOf returns the provider's file of a route, of a group that of the first member in
// force: its resolvers and families are the group's.
func (c *Controller) confOf(cfg *gateway.Config, r gateway.Route, found firewall.InForce) *provider.Conf {
	if r.Group == nil {
		return c.providers.Load(r).Conf
	}
	all := cfg.Members(r)
	first, _, _ := strings.Cut(namesOf(found), ", ")
	for _, m := range all {
		if m.Name == first {
			return c.providers.Load(m).Conf
		}
	}
	if len(all) == 0 {
		return nil
	}
	return c.providers.Load(all[0]).Conf
}

// addGroups gives groups the links of their members.
func addGroups(spec *firewall.Spec) {
	for _, r := range spec.Config.Routes {
		if r.Group == nil {
			continue
		}
		e := firewall.Egress{Down: spec.Egress[r.Name].Down}
		for _, m := range spec.Config.Members(r) {
			for _, l := range spec.Egress[m.Name].Links {
				if !slices.Contains(e.Links, l) {
					e.Links = append(e.Links, l)
				}
			}
		}
		spec.Egress[r.Name] = e
	}
}
