package firewall

import (
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// stray drops what would leave by the WAN with a source that nobody can answer, because
// conntrack has no connection for it: a segment that came too late, or does not fit.
// Those of a route's flow have no mark, and when the flow has outlived its element
// nothing else tells them from others. On a link that is lan's, too, replies may come
// another way, and conntrack knows none of what it sees.
func (d *desire) stray() []nft.Rule {
	if !d.wanInbound() {
		return nil
	}
	var rules []nft.Rule
	for _, link := range sortedLinks(d.WANLinks) {
		for _, f := range gateway.Families {
			rules = append(rules, nft.NewRule("of no connection, so not translated", nft.Oifname(link), nft.SaddrIn(f, familySet(setSpecial, f)), nft.CtInvalid(), nft.Drop()))
		}
	}
	return rules
}

// passedOn drops what came for the box by a route's egress and would go on by the WAN,
// because the address that it was sent to is not the box's any more: an answer about a
// listed name, in the clear. Conntrack knows it for a reply of the route's; one that it
// has forgotten is known by the tunnel's address. Replies to who came in by the WAN have
// the WAN's mark and go there.
func (d *desire) passedOn(r gateway.Route) []nft.Rule {
	e := d.Egress[r.Name]
	if !e.Inbound || !d.wanInbound() {
		return nil
	}
	var rules []nft.Rule
	for _, wan := range sortedLinks(d.WANLinks) {
		for _, link := range d.links(r) {
			rules = append(rules, nft.NewRule(r.Name+": came back for the box", nft.Iifname(link), nft.Oifname(wan), nft.CtMarkIs(r.Mark), nft.CtReply(), nft.Drop()))
		}
		for _, a := range []netip.Addr{e.SNAT4, e.SNAT6} {
			if a.IsValid() {
				rules = append(rules, nft.NewRule(r.Name+": came for the box", nft.Oifname(wan), nft.DaddrIs(a), nft.Drop()))
			}
		}
	}
	return rules
}
