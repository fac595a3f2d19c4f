package firewall

import (
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
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
func (d *builder) classify() []nft.Rule {
	var rules []nft.Rule
	for _, f := range gateway.Families {
		rules = append(rules, nft.NewRule("ICMP errors about routed flows", nft.CtRelated(), nft.DaddrIn(f, familySet(setExclude, f)), nft.Accept()))
	}
	keepRoute := func(name string, m gateway.Mark, bothWays bool) {
		match := []nft.Part{nft.CtMarkIs(m)}
		if !bothWays {
			match = append([]nft.Part{nft.CtOriginal()}, match...)
		}
		rules = append(rules, nft.NewRule(name+": flow keeps its route", append(match, nft.SetMark(m), nft.Accept())...))
	}
	for _, r := range d.Config.Routes {
		keepRoute(r.Name, r.Mark, d.Egress[r.Name].Inbound)
	}
	keepRoute(gateway.WAN, d.wan, d.wanInbound())
	rules = append(rules, nft.NewRule("flow predates its listing", nft.CtEstablished(), nft.Accept()))
	for _, f := range gateway.Families {
		rules = append(rules, nft.NewRule("excluded", nft.DaddrIn(f, familySet(setExclude, f)), nft.Accept()))
	}
	for _, r := range d.Config.Routes {
		if r.LearnPrivate {
			rules = append(rules, d.routeNewFlows(r, setSpecial)...)
		}
	}
	for _, f := range gateway.Families {
		rules = append(rules, nft.NewRule("special-use addresses", nft.DaddrIn(f, familySet(setSpecial, f)), nft.Accept()))
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
func (d *builder) routeNewFlows(r gateway.Route, within string) []nft.Rule {
	mark, comment := r.Mark, r.Name
	if r.OnDown == gateway.FallBack && d.Egress[r.Name].Down {
		mark, comment = d.wan, r.Name+": down, via wan"
	}
	var rules []nft.Rule
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
			rules = append(rules, nft.NewRule(comment, nft.DaddrIn(f, sets...), nft.SetMark(mark), nft.SetCtMark(mark), nft.Accept()))
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
func (d *builder) killSwitch() []nft.Rule {
	var rules []nft.Rule
	for _, r := range d.Config.Routes {
		parts := []nft.Part{nft.MarkIs(r.Mark)}
		for _, link := range d.links(r) {
			parts = append(parts, nft.NotOifname(link))
		}
		rule := nft.NewRule(r.Name+killSwitchSuffix, append(parts, nft.NotOifname("lo"), nft.Count(), nft.Drop())...)
		rule.KeepCounter = true
		rules = append(append(rules, rule), d.untranslated(r)...)
		rules = append(rules, d.notForwarded(r)...)
	}
	return append(append(rules, d.untracked()...), d.removedRoutes()...)
}

// removedRoutes drops what remains of removed routes. Until the sidecar has deleted their
// flows, those would leave by the WAN with the tunnel's source address.
func (d *builder) removedRoutes() []nft.Rule {
	var rules []nft.Rule
	for _, m := range d.Removed {
		rules = append(rules,
			nft.NewRule("removed route", nft.MarkIs(m), nft.NotOifname("lo"), nft.Drop()),
			nft.NewRule("flow of a removed route", nft.CtMarkIs(m), nft.NotOifname("lo"), nft.Drop()))
	}
	return rules
}

// untranslated drops packets that would leave a translating egress with a foreign source:
// conntrack knows no connection of theirs, so they pass no nat chain. While the table is
// flushed, replies reach the box itself; its RST, sent when the table is back, would end
// the flow at the far host.
func (d *builder) untranslated(r gateway.Route) []nft.Rule {
	e := d.Egress[r.Name]
	four, six := e.Masquerade || e.SNAT4.IsValid(), e.Masquerade || e.SNAT6.IsValid()
	if !four && !six {
		return nil
	}
	var rules []nft.Rule
	for _, link := range d.links(r) {
		match := d.leavingBy(r, link)
		switch {
		case !six:
			match = append(match, nft.NFProto(gateway.V4))
		case !four:
			match = append(match, nft.NFProto(gateway.V6))
		}
		rules = append(rules, nft.NewRule(r.Name+": unknown to conntrack, would leave untranslated", append(match, nft.CtInvalid(), nft.Drop())...))
	}
	return rules
}

// leavingBy matches packets that leave through a route's link. On a link that lan or the
// WAN shares, only those with the route's mark.
func (d *builder) leavingBy(r gateway.Route, link string) []nft.Part {
	if d.Egress[r.Name].Inbound {
		return []nft.Part{nft.Oifname(link)}
	}
	return []nft.Part{nft.MarkIs(r.Mark), nft.Oifname(link)}
}
