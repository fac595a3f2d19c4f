package firewall

import (
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft/rule"
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
// An established flow without a route predates its address's listing and is left alone.
// New ones are classified by destination: excluded addresses first, then special-use
// addresses, which only `private: learn` routes take, then the routes in the order of
// gateway.yaml.
func (d *builder) classify() []rule.Rule {
	var rules []rule.Rule
	for _, f := range gateway.Families {
		rules = append(rules, rule.New("ICMP errors about routed flows", rule.CtRelated(), rule.DaddrIn(f, familySet(setExclude, f)), rule.Accept()))
	}
	keepRoute := func(name string, m gateway.Mark, bothDirections bool) {
		match := []rule.Part{rule.CtMarkIs(m)}
		if !bothDirections {
			match = append([]rule.Part{rule.CtOriginal()}, match...)
		}
		rules = append(rules, rule.New(name+": flow keeps its route", append(match, rule.SetMark(m), rule.Accept())...))
	}
	for _, r := range d.Config.Routes {
		keepRoute(r.Name, r.Mark, d.Egress[r.Name].Inbound)
	}
	keepRoute(gateway.WAN, d.wan, d.wanInbound())
	rules = append(rules, rule.New("flow predates its listing", rule.CtEstablished(), rule.Accept()))
	for _, f := range gateway.Families {
		rules = append(rules, rule.New("excluded", rule.DaddrIn(f, familySet(setExclude, f)), rule.Accept()))
	}
	for _, r := range d.Config.Routes {
		if r.LearnPrivate {
			rules = append(rules, d.routeNewFlows(r, setSpecial)...)
		}
	}
	for _, f := range gateway.Families {
		rules = append(rules, rule.New("special-use addresses", rule.DaddrIn(f, familySet(setSpecial, f)), rule.Accept()))
	}
	for _, r := range d.Config.Routes {
		rules = append(rules, d.routeNewFlows(r, "")...)
	}
	return rules
}

// routeNewFlows marks new flows to a route's addresses; with within, only to those that
// are also in that set: a `private: learn` route precedes the special-use rules, but keeps
// its place among the other routes for public addresses. While a route with
// `on_down: wan` is down, new flows leave via the WAN and stay there.
func (d *builder) routeNewFlows(r gateway.Route, within string) []rule.Rule {
	mark, comment := r.Mark, r.Name
	if r.OnDown == gateway.FallBack && d.Egress[r.Name].Down {
		mark, comment = d.wan, r.Name+": down, via wan"
	}
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
			rules = append(rules, rule.New(comment, rule.DaddrIn(f, sets...), rule.SetMark(mark), rule.SetCtMark(mark), rule.Accept()))
		}
	}
	return rules
}

// killSwitchSuffix follows the route's name in the comment of its kill switch.
const killSwitchSuffix = ": kill switch"

// killSwitch drops packets that carry a route's mark and would leave through anything but
// the route's links, forwarded and own packets alike. It is in postrouting because the
// output hook still sees the kernel route from before the mark. lo carries packets to the
// box itself.
func (d *builder) killSwitch() []rule.Rule {
	var rules []rule.Rule
	for _, r := range d.Config.Routes {
		parts := []rule.Part{rule.MarkIs(r.Mark)}
		for _, link := range d.links(r) {
			parts = append(parts, rule.NotOifname(link))
		}
		rule := rule.New(r.Name+killSwitchSuffix, append(parts, rule.NotOifname("lo"), rule.Count(), rule.Drop())...)
		rule.KeepCounter = true
		rules = append(append(rules, rule), d.untranslated(r)...)
		rules = append(rules, d.notForwarded(r)...)
	}
	return append(append(rules, d.untracked()...), d.removedRoutes()...)
}

// removedRoutes drops what remains of removed routes. Until the sidecar has deleted their
// flows, those would leave by the WAN with the tunnel's source address.
func (d *builder) removedRoutes() []rule.Rule {
	var rules []rule.Rule
	for _, m := range d.Removed {
		rules = append(rules,
			rule.New("removed route", rule.MarkIs(m), rule.NotOifname("lo"), rule.Drop()),
			rule.New("flow of a removed route", rule.CtMarkIs(m), rule.NotOifname("lo"), rule.Drop()))
	}
	return rules
}

// untranslated drops packets that would leave a translating egress with a foreign source:
// conntrack knows no connection of theirs, so they pass no nat chain. While the table is
// flushed, replies reach the box itself; its RST, sent when the table is back, would end
// the flow at the far host.
func (d *builder) untranslated(r gateway.Route) []rule.Rule {
	e := d.Egress[r.Name]
	four, six := e.Masquerade || e.SNAT4.IsValid(), e.Masquerade || e.SNAT6.IsValid()
	if !four && !six {
		return nil
	}
	var rules []rule.Rule
	for _, link := range d.links(r) {
		match := d.leavingBy(r, link)
		switch {
		case !six:
			match = append(match, rule.NFProto(gateway.V4))
		case !four:
			match = append(match, rule.NFProto(gateway.V6))
		}
		rules = append(rules, rule.New(r.Name+": unknown to conntrack, would leave untranslated", append(match, rule.CtInvalid(), rule.Drop())...))
	}
	return rules
}

// leavingBy matches packets that leave through a route's link. On a link that lan or the
// WAN shares, only those with the route's mark.
func (d *builder) leavingBy(r gateway.Route, link string) []rule.Part {
	if d.Egress[r.Name].Inbound {
		return []rule.Part{rule.Oifname(link)}
	}
	return []rule.Part{rule.MarkIs(r.Mark), rule.Oifname(link)}
}
