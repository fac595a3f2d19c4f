package firewall

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft/rule"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// classify decides which route a packet takes. The order of its rules matters:
//
// An ICMP error to a local host, most of all the box's own "too big" and "unreachable",
// is related to the flow that it is about. It must not get that flow's mark, or the kill
// switch would drop it on its way to the sender.
//
// A flow that has a route keeps it. Where connections that come in through the egress
// belong to the route, both directions are marked: replies of a LAN server go back
// through the egress, and packets that arrive through it never get here. On a link that
// lan or the WAN shares, replies do get here, and only the original direction is marked:
// a marked reply would go out through the route again.
//
// The flow's label says its route, and its ct mark only where it has none: other programs
// write that. They may have written the WAN's, all bits being set, into a flow that is to
// be classified. Where both say the same route, its label is the only one that is asked for.
//
// An established flow without a route predates its address's listing and is left alone.
// New ones are classified by destination: excluded addresses first (local.go), then special-use
// addresses, which only `private: learn` routes and tunnels' AllowedIPs take, and those whose prefixes are all of a
// family, then the routes in the order of gateway.yaml.
func (d *builder) classify() []rule.Rule {
	marked := []rule.Part{rule.CtMarkIsSet(d.mask)}
	rules := append(d.aboutFlows(), d.replyByUplink()...)
	if d.labels {
		rules = append(rules, d.gate("known", "its ct mark may tell its route", marked, d.knownFlows())...)
		for _, r := range d.membersFirst() {
			rules = append(rules, rule.New(r.Name+": flow keeps its route", slices.Concat(d.flowOf(r),
				[]rule.Part{rule.CtLabel(d.label(r.Mark)), rule.SetMark(r.Mark), rule.SetCtMark(r.Mark), rule.Accept()})...))
			if !d.Egress[r.Name].Inbound {
				rules = append(rules, rule.New(r.Name+": reply", rule.CtReply(), rule.CtLabel(d.label(r.Mark)), d.unmark(), rule.Accept()))
			}
		}
		rules = append(append(rules, d.keepUplink()...), rule.New("wan: flow keeps its route", slices.Concat(d.flowOfWAN(),
			[]rule.Part{rule.CtLabel(wanLabel), rule.SetMark(d.wan), rule.SetCtMark(d.wan), rule.Accept()})...))
	}
	rules = append(rules, d.gate("by_ct_mark", "has a ct mark of ours", marked, d.byCtMark())...)
	rules = slices.Concat(rules, d.localFlows(), d.olderFlows(), d.toLocal(), d.byClass(prefixClients))
	if d.hasDefault() { // it follows
		return append(rules, d.byDestination(d.common(), rule.Return(), d.routeNewFlows)...)
	}
	return slices.Concat(rules, d.byDestination(d.common(), rule.Accept(), d.routeNewFlows), d.byUplinks())
}

// knownFlows finds routes by the ct mark, where the label says the same. Groups are not among
// them: a label of a member counts first.
func (d *builder) knownFlows() (rules []rule.Rule) {
	for _, r := range d.Config.Routes {
		if r.Group != nil {
			continue
		}
		known := []rule.Part{rule.CtMarkIs(r.Mark), rule.CtLabel(d.label(r.Mark))}
		rules = append(rules, rule.New(r.Name+": flow keeps its route", slices.Concat(known, d.flowOf(r), []rule.Part{rule.SetMark(r.Mark), rule.Accept()})...))
		if !d.Egress[r.Name].Inbound {
			rules = append(rules, rule.New(r.Name+": reply", append(known, rule.CtReply(), d.unmark(), rule.Accept())...))
		}
	}
	return rules
}

// byCtMark finds the routes of flows without a label.
func (d *builder) byCtMark() (rules []rule.Rule) {
	for _, r := range d.Config.Routes {
		rules = append(rules, rule.New(r.Name+": flow keeps its route, by ct mark", slices.Concat(d.flowOf(r),
			[]rule.Part{rule.CtMarkIs(r.Mark), rule.SetMark(r.Mark)}, d.setLabel(r.Mark), []rule.Part{rule.Accept()})...))
	}
	if !d.labels {
		rules = append(rules, d.keepUplink()...)
	}
	byMark := append(d.flowOfWAN(), rule.CtMarkIs(d.wan), rule.SetMark(d.wan), rule.Accept())
	if d.labels {
		byMark = append([]rule.Part{rule.CtEstablished()}, byMark...)
	}
	return append(rules, rule.New("wan: flow keeps its route, by ct mark", byMark...))
}

// aboutFlows accepts ICMP errors to local hosts.
func (d *builder) aboutFlows() []rule.Rule {
	var rules []rule.Rule
	for _, f := range gateway.Families {
		rules = append(rules, rule.New("ICMP errors about routed flows", rule.CtRelated(), rule.DaddrIn(f, familySet(setExclude, f)), rule.Accept()))
	}
	return rules
}

// byDestination decides about destinations that are not excluded. What a route's sets
// hold, within another set where that is named, is the route's. other says what becomes of
// special-use addresses that none of the routes takes; no part: they are as all others.
func (d *builder) byDestination(routes []gateway.Route, other rule.Part, ofRoute func(r gateway.Route, within string) []rule.Rule) []rule.Rule {
	var rules []rule.Rule
	for _, r := range routes {
		if r.TakesPrivate() || d.claimsAll(r) {
			rules = append(rules, ofRoute(r, setSpecial)...)
		}
	}
	for _, f := range gateway.Families {
		if other.Text != "" {
			rules = append(rules, rule.New("special-use addresses", rule.DaddrIn(f, familySet(setSpecial, f)), other))
		}
	}
	for _, r := range routes {
		rules = append(rules, ofRoute(r, "")...)
	}
	return rules
}

// claimsAll reports whether the prefixes of a route are all of a family. What is for special
// use and not local would otherwise leave by the WAN, though the user sends everything
// another way.
func (d *builder) claimsAll(r gateway.Route) bool {
	return r.Match == nil && slices.ContainsFunc(gateway.Families[:], func(f gateway.Family) bool {
		ranges := span.Merge(d.Prefixes[r.Name], f)
		return len(ranges) == 1 && ranges[0].From.IsUnspecified() && !ranges[0].To.Next().IsValid()
	})
}

// routeNewFlows marks new flows to a route's addresses; with within, only to those that
// are also in that set: a `private: learn` route precedes the special-use rules, but keeps
// its place among the other routes for public addresses. While a route with
// `on_down: wan` is down, new flows leave via the WAN and stay there.
func (d *builder) routeNewFlows(r gateway.Route, within string) []rule.Rule {
	mark, comment := r.Mark, r.Name
	if d.fallsBack(r) {
		mark, comment = d.wan, r.Name+": down, via wan"
	}
	if r.Group != nil && mark == r.Mark {
		return d.toRoute(r, within, comment, rule.Goto(choose(r)))
	}
	return d.toRoute(r, within, comment, append(d.store(mark), rule.Accept())...)
}

func (d *builder) fallsBack(r gateway.Route) bool {
	return r.OnDown == gateway.FallBack && d.Egress[r.Name].Down
}

// narrowed returns the alternatives of which one holds for packets that may take a route.
func narrowed(m *gateway.Match) (all [][]rule.Part) {
	if m == nil {
		return [][]rule.Part{nil}
	}
	for _, p := range m.Protocols {
		for _, r := range m.Ports {
			all = append(all, []rule.Part{rule.PortsOf(p, r.From, r.To)})
		}
		if len(m.Ports) == 0 {
			all = append(all, []rule.Part{rule.PortsOf(p, 0, 0)})
		}
	}
	return all
}

// toRoute matches the route's destinations.
func (d *builder) toRoute(r gateway.Route, within, comment string, do ...rule.Part) []rule.Rule {
	var rules []rule.Rule
	for _, f := range gateway.Families {
		names := []string{r.Set(f)}
		for _, s := range d.prefixes[r.PrefixSet(f)] {
			names = append(names, s.Name)
		}
		for _, name := range names {
			sets := []string{name}
			if within != "" {
				sets = []string{familySet(within, f), name}
			}
			for _, match := range narrowed(r.Match) {
				rules = append(rules, rule.New(comment, slices.Concat([]rule.Part{rule.DaddrIn(f, sets...)}, match, do)...))
			}
		}
	}
	return rules
}
