package firewall

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// The mark of a flow names the member of a group that it left by, and so do its first label
// and all that depends on them: source NAT, the kill switch and what keeps it there. A second
// label names the group that gave it. The mark and label of a group alone are those of our
// own sockets that asked for it; they may leave by the links of all members.

// InForce are the members of a group that new flows leave by, with their weights.
type InForce map[gateway.Family][]gateway.Member

// choose names the chain that gives a new flow to a member of a group. Only it changes when
// the group moves.
func choose(r gateway.Route) string { return "choose_" + r.Name }

// groups returns the groups among the routes.
func (d *builder) groups() []gateway.Route {
	return slices.DeleteFunc(slices.Clone(d.Config.Routes), func(r gateway.Route) bool { return r.Group == nil })
}

// membersFirst returns the routes in the order in which labels of flows count.
func (d *builder) membersFirst() []gateway.Route {
	return append(slices.DeleteFunc(slices.Clone(d.Config.Routes), func(r gateway.Route) bool { return r.Group != nil }), d.groups()...)
}

// inForce returns the members that new flows of a family leave by. Where none is in force it
// is the preferred one, whose own table blocks them until it is back.
func (d *builder) inForce(r gateway.Route, f gateway.Family) []share {
	var shares []share
	members := d.Config.Members(r)
	for _, m := range d.InForce[r.Name][f] {
		if i := slices.IndexFunc(members, func(o gateway.Route) bool { return o.Name == m.Route }); i >= 0 {
			shares = append(shares, share{members[i], max(m.Weight, 1)})
		}
	}
	if len(shares) == 0 && len(members) > 0 {
		shares = []share{{members[0], 1}}
	}
	return shares
}

// share is a member of a group and its weight among those in force.
type share struct {
	route  gateway.Route
	weight int
}

// egressOf returns the route whose mark packets of a route carry: itself, or the first
// member in force.
func (d *builder) egressOf(r gateway.Route, f gateway.Family) gateway.Route {
	if r.Group != nil {
		for _, s := range d.inForce(r, f) {
			return s.route
		}
	}
	return r
}

func (d *builder) chooseChains() []nft.Chain {
	var chains []nft.Chain
	for _, r := range d.groups() {
		var rules []rule.Rule
		for _, f := range gateway.Families {
			rules = append(rules, d.give(r, f)...)
		}
		chains = append(chains, nft.Chain{Name: choose(r), Rules: rules})
	}
	return chains
}

// give gives new flows of a family to the members in force. Each rule takes its share of
// what those before it have left.
func (d *builder) give(r gateway.Route, f gateway.Family) []rule.Rule {
	var rules []rule.Rule
	shares := d.inForce(r, f)
	ofGroup := d.setLabel(r.Mark)
	if r.Name == gateway.WAN { // its label is of what bypasses the routes
		ofGroup = nil
	}
	rest := 0
	for _, s := range shares {
		rest += s.weight
	}
	for _, s := range shares {
		parts := []rule.Part{rule.NFProto(f)}
		if s.weight < rest {
			parts = append(parts, rule.Share(s.weight, rest))
		}
		rest -= s.weight
		rules = append(rules, rule.New(r.Name+": by "+s.route.Name, slices.Concat(parts, d.store(s.route.Mark), ofGroup, []rule.Part{rule.Accept()})...))
	}
	return rules
}

// ofGroups returns the facts that tell flows of our own sockets that asked for a group with
// this member.
func (d *builder) ofGroups(member gateway.Route) []rule.Part {
	var facts []rule.Part
	for _, g := range d.groups() {
		if slices.ContainsFunc(g.Group.Members, func(m gateway.Member) bool { return m.Route == member.Name }) {
			facts = append(facts, d.flowFacts(g.Mark)...)
		}
	}
	return facts
}
