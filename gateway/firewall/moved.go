package firewall

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// A flow that is moved to a route (`evict: true`) leaves something behind: the far host
// does not know of it yet, and goes on sending to the WAN's address, where nobody listens.
// What the box has to say to that, a RST or a port unreachable, would be packets by the
// WAN to an address that has just been closed to it. So what comes from there without a
// connection of ours is dropped, but for what opens one.
const (
	setMoved      = "moved"
	chainLeftOver = "left_over"
)

// Moved are the sets of far hosts whose flows were moved. They are learned into as into a
// route's own, where some route has `evict: true`.
func Moved() nft.SetPair { return Pair(gateway.Route{Name: setMoved}) }

func (d *desire) evicts() bool {
	return slices.ContainsFunc(d.Config.Routes, func(r gateway.Route) bool { return r.Evict })
}

func (d *desire) movedSets() []nft.Set {
	if !d.evicts() {
		return nil
	}
	var sets []nft.Set
	for _, f := range gateway.Families {
		sets = append(sets, nft.Set{Name: familySet(setMoved, f), Family: f, Timeout: true, Size: d.Config.SetSize})
	}
	return sets
}

// fromMoved stands before all that takes what comes in by the WAN for welcome.
func (d *desire) fromMoved() []nft.Rule {
	if !d.evicts() {
		return nil
	}
	var rules []nft.Rule
	for _, link := range sortedLinks(d.WANLinks) {
		for _, f := range gateway.Families {
			rules = append(rules, nft.NewRule("of a flow that was moved", nft.Iifname(link), nft.CtInvalidOrNew(), nft.SaddrIn(f, familySet(setMoved, f)), nft.Jump(chainLeftOver)))
		}
	}
	return rules
}

func (d *desire) leftOver() []nft.Chain {
	if !d.evicts() {
		return nil
	}
	return []nft.Chain{{Name: chainLeftOver, Rules: []nft.Rule{
		nft.NewRule("a connection of its own", nft.TCPOpens(), nft.Return()),
		nft.NewRule("left over", nft.Drop()),
	}}}
}

// Kept are the addresses that are never rerouted, as ranges of one family.
func (s Spec) Kept(f gateway.Family) []nft.Range {
	return nft.Merge(slices.Concat(s.Config.Keep, s.Local, linkOnly()), f)
}
