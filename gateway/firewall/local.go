package firewall

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/nft/rule"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// What is local is local only as long as table main has it. The sets hear of a network that
// is withdrawn (its link goes down, its address is removed) milliseconds after the kernel
// has begun to route its addresses by main's default, and a flow lasts longer than that. So
// packets to local addresses that are listed too have the mark of their route, and it is the
// kernel that takes precedence: the route's table throws local networks to main without its
// defaults, and what main does not have takes the route or nothing. Such a flow is not the
// route's. Its label says that it was local, its packets are judged one by one, and it goes
// on where it was when its network comes back. Without labels local addresses are accepted,
// as what is always excluded is.
const (
	setAlwaysExcluded = "always_excluded" // regardless of table main
	chainLocal        = "local"
	localLabel        = gateway.LocalLabel // no route has this number
)

// alwaysExcluded returns what of Excluded does not depend on table main.
func (s Spec) alwaysExcluded(f gateway.Family) []span.Range {
	return span.Merge(slices.Concat(s.Config.Exclude, gateway.LinkScoped()), f)
}

func (d *builder) alwaysExcludedSets() []nft.Set {
	if !d.labels {
		return nil
	}
	var sets []nft.Set
	for _, f := range gateway.Families {
		sets = append(sets, nft.Set{Name: familySet(setAlwaysExcluded, f), Family: f, Ranges: d.alwaysExcluded(f), Required: true})
	}
	return sets
}

// excluded accepts destinations that are never rerouted.
func (d *builder) excluded(set string) []rule.Rule {
	var rules []rule.Rule
	for _, f := range gateway.Families {
		rules = append(rules, rule.New("excluded", rule.DaddrIn(f, familySet(set, f)), rule.Accept()))
	}
	return rules
}

// toLocal classifies packets to local addresses.
func (d *builder) toLocal() []rule.Rule {
	if !d.labels {
		return d.excluded(setExclude)
	}
	var rules []rule.Rule
	for _, f := range gateway.Families {
		rules = append(rules, rule.New("local", rule.DaddrIn(f, familySet(setExclude, f)), rule.Goto(chainLocal)))
	}
	return rules
}

// localFlows classifies packets of flows that were local.
func (d *builder) localFlows() []rule.Rule {
	if !d.labels {
		return nil
	}
	return []rule.Rule{rule.New("flow was local", rule.CtOriginal(), rule.CtLabel(localLabel), rule.Goto(chainLocal))}
}

// localChain marks packets to local addresses that are listed. Not what the kernel takes for
// the box's own, which it delivers, and not the box's own packets without a flow, most of all
// those that look for a neighbour on a certain link.
func (d *builder) localChain() []nft.Chain {
	if !d.labels {
		return nil
	}
	rules := append(d.excluded(setAlwaysExcluded), rule.New("the box's own, no flow", rule.NoInput(), rule.CtNone(), rule.Accept()))
	if !d.NoFIB {
		rules = append(rules, rule.New("to the box itself", rule.DestinationLocal(), rule.Accept()))
	}
	rules = append(rules, d.byClass(prefixLocal)...)
	if d.hasDefault() {
		rules = slices.Concat(rules, d.byDestination(d.common(), rule.Part{}, d.markLocal), d.localByDefault())
	} else {
		rules = append(rules, d.byDestination(d.common(), rule.Accept(), d.markLocal)...)
	}
	return append(d.classChains(prefixLocal, d.markLocal, d.allIsLocal), nft.Chain{Name: chainLocal, Rules: rules})
}

// markLocal marks what is a route's, and says in the flow's label that it was local.
func (d *builder) markLocal(r gateway.Route, within string) []rule.Rule {
	return d.toRoute(r, within, r.Name, d.asLocal(r)...)
}

func (d *builder) asLocal(r gateway.Route) []rule.Part {
	mark := d.egressOf(r, gateway.V4).Mark
	if d.fallsBack(r) || r.Name == gateway.WAN {
		mark = d.wan
	}
	return []rule.Part{rule.SetMark(mark), rule.SetCtLabel(localLabel), rule.Accept()}
}

// leavesLocally accepts what the kernel has sent to a local network. The mark was for that
// and is removed: the guards that follow do not count the packet as the route's. A flow that
// began without our table has no label, but no route in its ct mark either, unlike a flow of
// a socket that chose its route, and that must not leave by a local network.
func (d *builder) leavesLocally() []rule.Rule {
	if !d.labels {
		return nil
	}
	rules := []rule.Rule{rule.New("reply of a local flow", rule.CtReply(), rule.CtEstablished(), rule.CtLabel(localLabel), rule.Accept())}
	for _, f := range gateway.Families {
		to, marked := rule.DaddrIn(f, familySet(setExclude, f)), rule.MarkIsSet(d.mask)
		rules = append(rules,
			rule.New("local flow", rule.CtLabel(localLabel), to, d.unmark(), rule.Accept()),
			rule.New("local flow without a label", rule.CtNew(), rule.CtMarkIs(gateway.Mark{Mask: d.mask}), marked, to, d.unmark(), rule.Accept()),
			rule.New("local, no flow, forwarded", rule.Forwarded(), rule.CtNone(), marked, to, d.unmark(), rule.Accept()),
			rule.New("local, no flow", rule.CtNone(), rule.MarkIs(gateway.Mark{Mask: d.mask}), to, rule.Accept()))
	}
	return rules
}

// olderThanListing matches packets of flows that have a reply and neither a route nor ever
// were local.
func (d *builder) olderThanListing() []rule.Part {
	if !d.labels {
		return []rule.Part{rule.CtEstablished()}
	}
	return []rule.Part{rule.CtEstablished(), rule.NotCtLabel(localLabel)}
}
