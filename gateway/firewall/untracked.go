package firewall

import (
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// untranslated drops packets that would leave a translating egress with a foreign source:
// conntrack knows no connection of theirs, so they pass no nat chain. While the table is
// flushed, replies reach the box itself; its RST, sent when the table is back, would end
// the flow at the far host.
func (d *builder) untranslated(r gateway.Route) []rule.Rule {
	e := d.Egress[r.Name]
	four, six := e.Masquerade || e.SNAT4.IsValid(), e.Masquerade || e.SNAT6.IsValid()
	var rules []rule.Rule
	if !four && !six {
		if e.Own == (Source{}) || d.NoFIB {
			return nil
		}
		for _, link := range d.links(r) {
			rules = append(rules, rule.New(r.Name+": unknown to conntrack, would leave untranslated", slices.Concat(d.leavingWithoutFlow(r, link), d.ownOfAnother(), []rule.Part{rule.CtInvalid(), rule.Drop()})...))
		}
		return rules
	}
	for _, link := range d.links(r) {
		match := d.leavingWithoutFlow(r, link)
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

// untracked drops packets that would leave via the WAN with a private source because
// conntrack knows no connection of theirs: a segment that is late or out of window. Those
// of a routed flow have no mark, and once the flow has outlived its element nothing else
// tells them apart. On a link that lan shares, replies may take another path, and
// conntrack knows none of the connections.
func (d *builder) untracked() []rule.Rule {
	if !d.wanInbound() {
		return nil
	}
	var rules []rule.Rule
	for _, link := range sortedLinks(d.WANLinks) {
		for _, f := range gateway.Families {
			rules = append(rules, rule.New("unknown to conntrack, would leave untranslated", rule.Oifname(link), rule.CtInvalid(), rule.SaddrIn(f, familySet(setSpecial, f)), rule.Drop()))
		}
	}
	return rules
}

// notForwarded drops packets to the box that came in through a route's egress and would be
// forwarded to the WAN because their destination is no longer an address of the box: an
// answer about a listed name, in the clear. Conntrack knows them as replies of the route's
// flows; where it has forgotten those, the tunnel's address tells. Replies to connections
// that came in by the WAN carry the WAN's mark and go there.
func (d *builder) notForwarded(r gateway.Route) []rule.Rule {
	e := d.Egress[r.Name]
	if !e.Inbound || !d.wanInbound() {
		return nil
	}
	var rules []rule.Rule
	for _, wan := range sortedLinks(d.WANLinks) {
		for _, link := range d.links(r) {
			for _, flow := range append(d.flowFacts(r.Mark), d.ofGroups(r)...) {
				rules = append(rules, rule.New(r.Name+": reply to the box, not forwarded", rule.Iifname(link), rule.Oifname(wan), flow, rule.CtReply(), rule.Drop()))
			}
		}
	}
	return rules
}

// sourcesOfTunnels drops the box's own packets that would leave via the WAN with a tunnel's address:
// of flows that began by policy rules which have changed since (`default:`), or with an address that a
// socket had bound to. What came in by the WAN is answered with the address that was asked.
func (d *builder) sourcesOfTunnels() []rule.Rule {
	if !d.wanInbound() {
		return nil
	}
	var rules []rule.Rule
	for _, r := range d.Config.Routes {
		for _, a := range []netip.Addr{d.Egress[r.Name].SNAT4, d.Egress[r.Name].SNAT6} {
			if !a.IsValid() || r.Egress.Kind != gateway.EgressWireGuard {
				continue
			}
			for _, wan := range sortedLinks(d.WANLinks) {
				rules = append(rules, rule.New(r.Name+": would leave via the WAN with its address", rule.Oifname(wan), rule.CtOriginal(), rule.SaddrWithin(netip.PrefixFrom(a, a.BitLen())), rule.Count(), rule.Drop()))
			}
		}
	}
	return d.gate("own_source", "the box's own", []rule.Part{rule.NoInput()}, rules)
}

// toEgress drops what has the tunnel's address and would be forwarded to the WAN.
func (d *builder) toEgress(r gateway.Route) []rule.Rule {
	e := d.Egress[r.Name]
	if !e.Inbound || !d.wanInbound() {
		return nil
	}
	var rules []rule.Rule
	for _, wan := range sortedLinks(d.WANLinks) {
		for _, a := range []netip.Addr{e.SNAT4, e.SNAT6} {
			if a.IsValid() {
				rules = append(rules, rule.New(r.Name+": to the box, not forwarded", rule.Oifname(wan), rule.DaddrIs(a), rule.Drop()))
			}
		}
	}
	return rules
}
