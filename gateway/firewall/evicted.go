package firewall

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/nft/rule"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// When a flow is evicted from the WAN (`evict: true`, or it began without our table), the far host does not know it yet
// and goes on sending to the WAN's address. The box would answer with a RST or a port
// unreachable, by the WAN, to an address that must not be reached by it any more. So
// packets from there that belong to no connection are dropped, unless they open one.
const (
	setEvicted        = "evicted"
	chainEvictedStray = "evicted_stray"
)

// EvictedPair names the sets of far hosts whose flows were evicted.
func EvictedPair() nft.SetPair { return Pair(gateway.Route{Name: setEvicted}) }

func (d *builder) evictedSets() []nft.Set {
	var sets []nft.Set
	for _, f := range gateway.Families {
		sets = append(sets, nft.Set{Name: familySet(setEvicted, f), Family: f, Timeout: true, Size: d.Config.SetSize})
	}
	return sets
}

// evictedHosts precedes the rules that accept what comes in via the WAN.
func (d *builder) evictedHosts() []rule.Rule {
	var rules []rule.Rule
	for _, link := range sortedLinks(d.WANLinks) {
		for _, f := range gateway.Families {
			rules = append(rules, rule.New("may be a stray of an evicted flow", rule.Iifname(link), rule.CtInvalidOrNew(), rule.SaddrIn(f, familySet(setEvicted, f)), rule.Jump(chainEvictedStray)))
		}
	}
	return rules
}

func (d *builder) evictedStray() []nft.Chain {
	return []nft.Chain{{Name: chainEvictedStray, Rules: []rule.Rule{
		rule.New("a new connection", rule.TCPOpens(), rule.Return()),
		rule.New("stray of an evicted flow", rule.Drop()),
	}}}
}

// Excluded returns the addresses of one family that are never rerouted.
func (s Spec) Excluded(f gateway.Family) []span.Range {
	return span.Merge(slices.Concat(s.Config.Exclude, s.Local, gateway.LinkScoped()), f)
}
