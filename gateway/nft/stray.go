package nft

import (
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
)

// stray drops what would leave by the WAN with a source that nobody can answer, because
// conntrack has no connection for it: a segment that came too late, or does not fit.
// Those of a route's flow have no mark, and when the flow has outlived its element
// nothing else tells them from others. On a link that is lan's, too, replies may come
// another way, and conntrack knows none of what it sees.
func (d *desire) stray() []rule {
	if !d.wanInbound() {
		return nil
	}
	var rules []rule
	for _, link := range sortedLinks(d.WANLinks) {
		for _, f := range gateway.Families {
			rules = append(rules, newRule("of no connection, so not translated", oifname(link), saddrIn(f, familySet(setSpecial, f)), ctInvalid(), drop()))
		}
	}
	return rules
}

// passedOn drops what came for the box by a route's egress and would go on by the WAN,
// because the address that it was sent to is not the box's any more: an answer about a
// listed name, in the clear. Conntrack knows it for a reply of the route's; one that it
// has forgotten is known by the tunnel's address. Replies to who came in by the WAN have
// the WAN's mark and go there.
func (d *desire) passedOn(r gateway.Route) []rule {
	e := d.Egress[r.Name]
	if !e.Inbound || !d.wanInbound() {
		return nil
	}
	var rules []rule
	for _, wan := range sortedLinks(d.WANLinks) {
		for _, link := range d.links(r) {
			rules = append(rules, newRule(r.Name+": came back for the box", iifname(link), oifname(wan), ctMarkIs(r.Mark), ctReply(), drop()))
		}
		for _, a := range []netip.Addr{e.SNAT4, e.SNAT6} {
			if a.IsValid() {
				rules = append(rules, newRule(r.Name+": came for the box", oifname(wan), daddrIs(a), drop()))
			}
		}
	}
	return rules
}
