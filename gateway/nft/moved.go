package nft

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/nameroute/nameroute/gateway"
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
func Moved() SetPair { return Pair(gateway.Route{Name: setMoved}) }

func (d *desire) evicts() bool {
	return slices.ContainsFunc(d.Config.Routes, func(r gateway.Route) bool { return r.Evict })
}

func (d *desire) movedSets() []set {
	if !d.evicts() {
		return nil
	}
	var sets []set
	for _, f := range gateway.Families {
		sets = append(sets, set{name: familySet(setMoved, f), family: f, learned: true, size: d.Config.SetSize})
	}
	return sets
}

// fromMoved stands before all that takes what comes in by the WAN for welcome.
func (d *desire) fromMoved() []rule {
	if !d.evicts() {
		return nil
	}
	var rules []rule
	for _, link := range sortedLinks(d.WANLinks) {
		for _, f := range gateway.Families {
			rules = append(rules, newRule("of a flow that was moved", iifname(link), ctUnknown(), saddrIn(f, familySet(setMoved, f)), jump(chainLeftOver)))
		}
	}
	return rules
}

func (d *desire) leftOver() []chain {
	if !d.evicts() {
		return nil
	}
	return []chain{{name: chainLeftOver, rules: []rule{
		newRule("a connection of its own", tcpOpens(), back()),
		newRule("left over", drop()),
	}}}
}

// ctUnknown matches what belongs to no connection: a segment from the middle of one makes
// a new one of it (nf_conntrack_tcp_loose), or none.
func ctUnknown() part { return ctState("invalid,new", expr.CtStateBitNEW|expr.CtStateBitINVALID) }

func back() part { return part{"return", []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}} }

// Kept are the addresses that are never rerouted, as ranges of one family.
func (s Spec) Kept(f gateway.Family) []Range {
	return Merge(slices.Concat(s.Config.Keep, s.Local, linkOnly()), f)
}

// Within reports whether an address is in one of the ranges that Merge made.
func Within(ranges []Range, a netip.Addr) bool {
	i, found := slices.BinarySearchFunc(ranges, a, func(r Range, a netip.Addr) int { return r.From.Compare(a) })
	return found || i > 0 && a.Compare(ranges[i-1].To) <= 0
}
