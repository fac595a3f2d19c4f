package firewall

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// What follows the route's name in the comments of the rules of the kill switch that count.
const (
	killSwitchSuffix  = ": kill switch"
	overwrittenSuffix = ": kill switch, mark overwritten" // by another program
)

// killSwitch drops what is a route's and would leave through anything but the route's
// links, forwarded and own packets alike. It is in postrouting because the output hook
// still sees the kernel route from before the mark. lo carries packets to the box itself.
//
// The mark is what the packet was routed by, unless another program wrote it since. So a
// packet is judged by three facts: its mark, its flow's label (or ct mark), and at last its
// destination, as it is classified, unless its flow is the WAN's or older than the listing.
func (d *builder) killSwitch() []rule.Rule {
	rules := append([]rule.Rule{rule.New("to the box itself", rule.Oifname("lo"), rule.Accept())}, d.onlyBridged()...)
	var unknown, replies, addressed []rule.Rule
	for _, r := range d.Config.Routes {
		unknown = append(unknown, d.untranslated(r)...)
		replies = append(replies, d.notForwarded(r)...)
		addressed = append(addressed, d.toEgress(r)...)
	}
	return slices.Concat(rules,
		d.gate("unknown", "unknown to conntrack", []rule.Part{rule.CtInvalid()}, append(unknown, d.untracked()...)),
		d.gate("not_forwarded", "a reply, forwarded", []rule.Part{rule.CtReply(), rule.Forwarded()}, replies),
		d.gate("to_egress", "may be to the box itself", d.notFromLAN(), addressed),
		d.removedRoutes(), d.arrived(), d.leavesLocally(),
		d.gate(chainMarked, "marked", []rule.Part{rule.MarkIsSet(d.mask)}, d.marked()),
		d.overwritten())
}

// marked judges packets by their mark.
func (d *builder) marked() []rule.Rule {
	rules := []rule.Rule{rule.New("wan", rule.MarkIs(d.wan), rule.Return())}
	for _, r := range d.Config.Routes {
		parts := []rule.Part{rule.MarkIs(r.Mark)}
		for _, link := range d.links(r) {
			parts = append(parts, rule.NotOifname(link))
		}
		drop := rule.New(r.Name+killSwitchSuffix, append(parts, rule.Count(), rule.Drop())...)
		drop.KeepCounter = true
		rules = append(rules, drop, rule.New(r.Name+": via its own link", rule.MarkIs(r.Mark), rule.Accept()))
	}
	return rules
}

// onlyBridged accepts what a bridge forwards by itself and shows to these hooks
// (bridge-nf-call-iptables): it is not routed. Like a packet of the box's own it came in by
// no interface here, but its source is another host's.
func (d *builder) onlyBridged() []rule.Rule {
	if d.NoFIB {
		return nil
	}
	return []rule.Rule{rule.New("only bridged", rule.NoInput(), rule.ByBridge(), rule.SourceNotLocal(), rule.Accept())}
}

// overwritten judges packets whose mark is no route's.
func (d *builder) overwritten() []rule.Rule {
	var rules []rule.Rule
	if d.labels {
		for _, r := range d.membersFirst() {
			rules = append(rules, d.ofFlow(r, rule.CtLabel(d.label(r.Mark))))
		}
		rules = append(rules, rule.New("wan", rule.CtLabel(wanLabel), rule.Accept()),
			rule.New("wan: chosen by the socket's mark", rule.MarkIsExactly(d.wan.Value), rule.Accept()))
	}
	var byMark []rule.Rule
	for _, r := range d.Config.Routes {
		byMark = append(byMark, d.ofFlow(r, rule.CtMarkIs(r.Mark)))
	}
	rules = append(rules, d.gate("by_ct_mark_out", "has a ct mark of ours", []rule.Part{rule.CtMarkIsSet(d.mask)}, byMark)...)
	if !d.labels {
		rules = append(rules, rule.New("wan", rule.MarkIs(d.wan), rule.Accept()))
		for _, u := range d.uplinks() {
			rules = append(rules, rule.New("wan: reply by "+u.Name, rule.CtReply(), rule.MarkIs(u.Mark), rule.Accept()))
		}
	}
	excluded := setExclude
	if d.labels {
		excluded = setAlwaysExcluded // the rest has left already
	}
	rules = append(append(rules, rule.New("flow predates its listing", append(d.olderThanListing(), rule.Accept())...)), d.excluded(excluded)...)
	rules = append(rules, d.byClass(prefixLeaving)...)
	if d.hasDefault() {
		return slices.Concat(rules, d.byDestination(d.common(), rule.Part{}, d.leaving), d.onlyByDefault())
	}
	return append(rules, d.byDestination(d.common(), rule.Accept(), d.leaving)...)
}

// leaving judges packets by their destination.
func (d *builder) leaving(r gateway.Route, within string) []rule.Rule {
	switch {
	case r.Name == gateway.WAN:
		return d.toRoute(r, within, r.Name, rule.Accept())
	case d.fallsBack(r):
		return d.toRoute(r, within, r.Name+": down, via wan", rule.Accept())
	}
	return d.toRoute(r, within, r.Name, rule.Goto(onlyVia(r)))
}

// arrived accepts what came in through the WAN or an egress, which is not classified.
func (d *builder) arrived() []rule.Rule {
	var arrived, replies []rule.Rule
	for _, a := range d.arrivals() {
		arrived = append(arrived, rule.New(a.name+": came in through its egress", rule.Iifname(a.link), rule.Accept()))
	}
	for _, r := range d.Config.Routes {
		if d.labels && !d.Egress[r.Name].Inbound {
			replies = append(replies, rule.New(r.Name+": reply", rule.CtReply(), rule.CtLabel(d.label(r.Mark)), rule.Accept()))
		}
	}
	return append(d.gate("arrived", "may have come in through an egress", append(d.notFromLAN(), rule.Forwarded()), arrived),
		d.gate("replies", "may be a reply of a route's flow", []rule.Part{rule.CtReply()}, replies)...)
}

// ofFlow lets the packets of a route's flow leave through its links only.
func (d *builder) ofFlow(r gateway.Route, flow rule.Part) rule.Rule {
	return rule.New(r.Name+": flow keeps its route", append(d.flowOf(r), flow, rule.Goto(onlyVia(r)))...)
}

// onlyVia names the chain that drops what leaves through anything but the route's links.
func onlyVia(r gateway.Route) string { return "only_via_" + r.Name }

func (d *builder) onlyViaChains() []nft.Chain {
	var chains []nft.Chain
	var notByWAN []rule.Part // where its links are no local host's
	if d.wanInbound() {
		for _, link := range sortedLinks(d.WANLinks) {
			notByWAN = append(notByWAN, rule.NotOifname(link))
		}
	}
	for _, r := range d.Config.Routes {
		var rules []rule.Rule
		for _, link := range d.links(r) {
			rules = append(rules, rule.New(r.Name, rule.Oifname(link), rule.Accept()))
		}
		drop := rule.New(r.Name+overwrittenSuffix, rule.Count(), rule.Drop())
		drop.KeepCounter = true
		for _, about := range d.aboutFlows() {
			rules = append(rules, rule.New(about.Comment, append(notByWAN, about.Parts...)...))
		}
		rules = append(rules, drop)
		chains = append(chains, nft.Chain{Name: onlyVia(r), Rules: rules})
	}
	return chains
}

// removedRoutes drops what remains of removed routes. Until the sidecar has deleted their
// flows, those would leave by the WAN with the tunnel's source address.
func (d *builder) removedRoutes() []rule.Rule {
	var rules []rule.Rule
	for _, m := range d.Removed {
		rules = append(rules,
			rule.New("removed route", rule.MarkIs(m), rule.Drop()),
			rule.New("flow of a removed route", rule.CtMarkIs(m), rule.Drop()))
		if d.labels {
			rules = append(rules, rule.New("flow of a removed route", rule.CtLabel(d.label(m)), rule.Drop()))
		}
	}
	return rules
}

// foreignSources drops what would leave a translating egress with another source than the
// translated one, after all source NAT: a flow that was translated for another way out, and
// what conntrack does not follow. Connections that came in through the egress are answered
// as they came.
func (d *builder) foreignSources() []rule.Rule {
	var rules []rule.Rule
	for _, r := range d.Config.Routes {
		e := d.Egress[r.Name]
		for _, link := range d.links(r) {
			drop := func(leaving []rule.Part, match ...rule.Part) {
				rules = append(rules, rule.New(r.Name+": would leave untranslated", slices.Concat(leaving, match, []rule.Part{rule.Count(), rule.Drop()})...))
			}
			flow, none := d.leavingBy(r, link), append(d.leavingWithoutFlow(r, link), rule.CtUntracked())
			if d.Egress[r.Name].Inbound || !d.labels {
				flow = append(flow, rule.CtOriginal())
			}
			if e.Masquerade {
				if !d.NoFIB {
					drop(flow, rule.SourceNotOfLink())
				}
				continue
			}
			if e.SNAT4.IsValid() {
				drop(flow, rule.NotSaddr(e.SNAT4))
				drop(none, rule.NotSaddr(e.SNAT4))
			}
			if e.SNAT6.IsValid() {
				drop(flow, rule.NotSaddr(e.SNAT6))
				drop(none, rule.NotSaddr(e.SNAT6), rule.NotICMPv6()) // neighbour discovery is never tracked
			}
		}
	}
	return slices.Concat(d.onlyBridged(), d.gate("foreign_source", "leaves by an egress", d.byEgress(), rules), d.sourcesOfTunnels())
}
