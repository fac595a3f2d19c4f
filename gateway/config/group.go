package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
	"github.com/nameroute/nameroute/gateway/pkg/yamlnode"
)

// Keys of a route whose egress is other routes.
const (
	keyEgress = "egress"
	keyPolicy = "policy"
	keyHold   = "hold"
	keyMove   = "move"
)

const wantMembers = "want names of routes, such as [nl, de], or with weights {nl: 3, de: 1}"

func (rr *routeReader) groupFields() []field {
	return []field{
		{key: keyEgress, want: wantMembers, read: rr.readMembers},
		{key: keyPolicy, read: func(v value) {
			word, ok := v.word(string(gateway.Failover), string(gateway.Balance), string(gateway.Fastest))
			set(&rr.group.Policy)(gateway.GroupPolicy(word), ok)
		}},
		{key: keyHold, read: func(v value) { set(&rr.group.Hold)(v.durationIn(gateway.MinProbeEvery, gateway.MaxHold)) }},
		{key: keyMove, read: func(v value) {
			word, ok := v.word(string(gateway.MoveCut), string(gateway.MoveKeep))
			set(&rr.group.Move)(gateway.GroupMove(word), ok)
		}},
	}
}

// readMembers reads names, or names with their weights.
func (rr *routeReader) readMembers(v value) {
	if v.isMapping() && !v.empty() {
		rr.weighted = true
		v.entries(wantMembers, func(name string, key, child value) {
			weight, ok := child.number(1, gateway.MaxWeight)
			rr.addMember(key, name, weight, ok)
		})
	} else {
		for _, item := range v.items(wantMembers) {
			name, ok := item.text("want the name of a route")
			rr.addMember(item, name, 1, ok)
		}
	}
	switch n := len(rr.group.Members); {
	case n == 0 && !rr.r.wrong(v.key):
		v.problem("is empty", wantMembers)
	case n > gateway.MaxMembers:
		v.problem(fmt.Sprintf("%d members", n), fmt.Sprintf("want at most %d", gateway.MaxMembers))
	}
}

func (rr *routeReader) addMember(at value, name string, weight int, ok bool) {
	switch {
	case !ok:
	case slices.ContainsFunc(rr.group.Members, func(m gateway.Member) bool { return m.Route == name }):
		at.problemWith(name, "is a member already", "want it once")
	default:
		rr.group.Members = append(rr.group.Members, gateway.Member{Route: name, Weight: weight})
		rr.r.positions[memberKey(rr.key, name)] = positionOf(at.node)
	}
}

// memberKey is the key of a member's name in Positions. The keys of the file have no space.
func memberKey(key, member string) string { return key + "." + keyEgress + " " + member }

// finishGroup fills in the defaults of a group.
func (rr *routeReader) finishGroup() {
	g := &rr.group
	g.Policy = cmp.Or(g.Policy, gateway.Failover)
	g.Hold = cmp.Or(g.Hold, gateway.DefaultHold)
	g.Move = cmp.Or(g.Move, gateway.MoveCut)
	g.Probing, rr.Probing = rr.Probing, gateway.Probing{}
	g.Every = cmp.Or(g.Every, gateway.DefaultProbeEvery)
	g.Fails = cmp.Or(g.Fails, gateway.DefaultProbeFails)
	g.Good = cmp.Or(g.Good, gateway.DefaultProbeGood)
	if rr.weighted && g.Policy != gateway.Balance {
		rr.r.problem(rr.key+"."+keyEgress, "", "has weights, which only policy: balance uses", "want names alone, or policy: balance")
	}
	rr.Group = g
}

// checkGroups checks the members of groups, which may be defined after them.
func (c *builder) checkGroups() {
	for i := range c.Routes {
		if g := c.Routes[i].Group; g != nil {
			c.checkMembers(&c.Routes[i])
		}
	}
}

func (c *builder) checkMembers(route *gateway.Route) {
	key, tunnels := "routes."+route.Name, len(route.Group.Members)
	var known []string
	for _, r := range c.Routes {
		if r.Group == nil {
			known = append(known, r.Name)
		}
	}
	for _, m := range route.Group.Members {
		refuse := func(why, want string) {
			c.problemAt(c.positions[memberKey(key, m.Route)], key+"."+keyEgress, m.Route, why, want)
		}
		member, ok := c.Route(m.Route)
		switch {
		case m.Route == gateway.WAN:
			refuse("the WAN is no member of a group", "want on_down: wan")
		case m.Route == route.Name:
			refuse("is the group itself", "want another route")
		case !ok:
			refuse("unknown route", problem.DidYouMean(m.Route, known))
		case member.Group != nil:
			refuse("is a group itself", "want its members")
		case member.Egress.Kind != gateway.EgressWireGuard:
			tunnels--
			if slices.Contains(route.Group.Probes, gateway.Probe{Kind: gateway.ProbeHandshake}) {
				refuse("is no tunnel, and has no handshakes", "want ping, tcp, http or dns in "+keyProbes)
			}
		}
	}
	if len(route.Group.Members) == 1 {
		c.note(key+"."+keyEgress, route.Group.Members[0].Route, "is the only member: there is nothing to move to", "")
	}
	if len(route.Group.Probes) == 0 && tunnels == len(route.Group.Members) {
		route.Group.Probes = []gateway.Probe{{Kind: gateway.ProbeHandshake}}
	} else if len(route.Group.Probes) == 0 {
		c.note(key, "", "has no probes: only the links of its members tell whether they work", "want "+keyProbes+":, for example [ping 192.0.2.1]")
	}
}

func groupPairs(g *gateway.Group) []any {
	var members any = yamlnode.Flow(words(g.Members))
	if g.Policy == gateway.Balance {
		var weights []any
		for _, m := range g.Members {
			weights = append(weights, m.Route, m.Weight)
		}
		members = yamlnode.Mapping(weights...)
	}
	pairs := []any{keyEgress, members, keyPolicy, string(g.Policy), keyHold, shortDuration(g.Hold), keyMove, string(g.Move)}
	all := probingPairs(g.Probing)
	if len(g.Probes) == 0 {
		all = all[2:]
	}
	return append(pairs, all...)
}
