package firewall

import (
	"slices"

	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// A packet is to cost the same whatever number of routes there is. So rules that there are for
// each route stand in chains of their own, behind one rule that keeps out what none of them
// can match: packets of flows without our bits in the ct mark, those that are no SYN, that do
// not leave by an egress. What remains for each route are the rules about the flow's label,
// which no single rule of nft(8) can ask for, and those of the first packet of a flow.

// gate puts rules into a chain, to which what matches jumps. The rules still match by
// themselves: a gate decides nothing.
func (d *builder) gate(chain, comment string, match []rule.Part, rules []rule.Rule) []rule.Rule {
	if len(rules) == 0 {
		return nil
	}
	d.gated = append(d.gated, nft.Chain{Name: chain, Rules: rules})
	return []rule.Rule{rule.New(comment, append(slices.Clone(match), rule.Jump(chain))...)}
}

// notFromLAN matches what came in by no link of lan, but for those that arrivals are told by.
func (d *builder) notFromLAN() (match []rule.Part) {
	for _, link := range sortedLinks(d.Config.LAN) {
		if !slices.ContainsFunc(d.arrivals(), func(a arrival) bool { return a.link == link }) {
			match = append(match, rule.NotIifname(link))
		}
	}
	return match
}

// byEgress matches what leaves by no link of lan or the WAN, but for those that are a route's,
// too.
func (d *builder) byEgress() (match []rule.Part) {
	for _, link := range sortedLinks(slices.Concat(d.Config.LAN, d.WANLinks)) {
		shared := false
		for _, r := range d.Config.Routes {
			shared = shared || slices.Contains(d.links(r), link)
		}
		if !shared {
			match = append(match, rule.NotOifname(link))
		}
	}
	return match
}
