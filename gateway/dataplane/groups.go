package dataplane

import (
	"net/netip"
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

// addUplinks adds to the spec what is known of the WAN's interfaces that gateway.yaml names.
func addUplinks(spec *firewall.Spec, seen policy.RouteState, local policy.Local) {
	wan := spec.Config.WANRoute()
	if wan.Group == nil {
		return
	}
	spec.Working, spec.Networks = members.Working(spec.Config, wan, seen.Defaults), map[string][]netip.Prefix{}
	for _, link := range links(spec.Config.Members(wan)) {
		for _, n := range local.Networks {
			if p := n.Prefix; p.Addr().Is6() && !gateway.IsSpecialPrefix(p) && !n.Via.IsValid() && slices.Equal(n.Links, []string{link}) {
				spec.Networks[link] = append(spec.Networks[link], p)
			}
		}
	}
}

func links(uplinks []gateway.Route) (names []string) {
	for _, u := range uplinks {
		names = append(names, u.Egress.Link)
	}
	return names
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
