package firewall

import (
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// Several links of the WAN. Connections that come in by one are answered by it: their flows
// have its mark and the WAN's label. Where gateway.yaml names the links, they are a group:
// what takes no route leaves by the members in force, and each link has a label of its own,
// so a flow stays where it is. A flow that was given to a member has that label alone, by
// which it is found when the member fails. It does not bypass the routes: until there is a
// reply, its packets are classified by their destination like any others.

const chainChooseWAN = "choose_wan"

// uplinks are the marks of flows that came in through one of several WAN links, by which
// they are answered. Those flows are the WAN's.
func (d *builder) uplinks() []gateway.Route {
	if !d.wanInbound() {
		return nil
	}
	return d.Config.Uplinks(d.WANLinks)
}

// named are the uplinks where gateway.yaml names them.
func (d *builder) named() []gateway.Route {
	if d.Config.WANGroup == nil {
		return nil
	}
	return d.uplinks()
}

func isMark(m gateway.Mark) func(gateway.Route) bool {
	return func(r gateway.Route) bool { return r.Mark == m }
}

// withWAN adds the WAN's label to that of a named uplink: the flow is the WAN's whatever
// its destination.
func (d *builder) withWAN(m gateway.Mark) []rule.Part {
	if parts := d.storeInFlow(m); d.labels && slices.ContainsFunc(d.named(), isMark(m)) {
		return append(parts, rule.SetCtLabel(wanLabel))
	} else {
		return parts
	}
}

// replyByUplink sends replies back by the link that the connection came in through.
func (d *builder) replyByUplink() []rule.Rule {
	var rules []rule.Rule
	for _, u := range d.uplinks() {
		match := []rule.Part{rule.CtReply(), rule.CtMarkIs(u.Mark)}
		if d.labels {
			match = append(match, rule.CtLabel(wanLabel))
		}
		rules = append(rules, rule.New("wan: reply by "+u.Name, append(match, rule.SetMark(u.Mark), rule.Accept())...))
	}
	return rules
}

// keepUplink keeps flows that have seen a reply on their uplink.
func (d *builder) keepUplink() []rule.Rule {
	var rules []rule.Rule
	for _, u := range d.named() {
		keep := []rule.Part{rule.SetMark(u.Mark), rule.SetCtMark(u.Mark), rule.Accept()}
		if d.labels {
			rules = append(rules, rule.New("wan: flow keeps "+u.Name, append([]rule.Part{rule.CtLabel(d.label(u.Mark)), rule.CtLabel(wanLabel)}, keep...)...),
				rule.New("wan: flow keeps "+u.Name, append([]rule.Part{rule.CtEstablished(), rule.CtLabel(d.label(u.Mark))}, keep...)...))
		} else {
			rules = append(rules, rule.New("wan: flow keeps "+u.Name, append([]rule.Part{rule.CtEstablished(), rule.CtMarkIs(u.Mark)}, keep...)...))
		}
	}
	return rules
}

// byUplinks ends the classification where the uplinks are named.
func (d *builder) byUplinks() []rule.Rule {
	if len(d.named()) == 0 {
		return nil
	}
	return []rule.Rule{rule.New("wan: by a member", rule.CtNew(), rule.Goto(chainChooseWAN))}
}

// chooseWAN gives new flows that take no route to members of the WAN. What the box sends by
// itself has been routed already, with the source that belongs to the link, unless it has a default
// route: then it comes here when it is listed for the WAN. IPv6 with a source of a member leaves by
// that, as long as it works.
func (d *builder) chooseWAN() []nft.Chain {
	named := d.named()
	if len(named) == 0 {
		return nil
	}
	var rules []rule.Rule
	by := func(u gateway.Route, match ...rule.Part) {
		rules = append(rules, rule.New("wan: by "+u.Name, slices.Concat(match, d.store(u.Mark), []rule.Part{rule.Accept()})...))
	}
	for _, u := range named {
		by(u, d.flowFacts(u.Mark)[0])
	}
	for _, u := range named {
		by(u, rule.NoInput(), rule.Oifname(u.Egress.Link))
	}
	if _, ok := d.Config.BoxDefault(); !ok {
		rules = append(rules, rule.New("the box's own, by another link", rule.NoInput(), rule.Accept()))
	}
	for _, u := range named {
		if slices.ContainsFunc(d.Working[gateway.V6], func(m gateway.Member) bool { return m.Route == u.Name }) {
			for _, p := range d.sources(u.Name) {
				by(u, rule.SaddrWithin(p))
			}
		}
	}
	wan := d.Config.WANRoute()
	for _, f := range gateway.Families {
		if len(d.InForce[gateway.WAN][f]) > 0 {
			rules = append(rules, d.give(wan, f)...)
		}
	}
	return []nft.Chain{{Name: chainChooseWAN, Rules: rules}}
}

// sources returns the prefixes of IPv6 that belong to a named uplink, sorted.
func (d *builder) sources(link string) []netip.Prefix {
	var all []netip.Prefix
	for _, u := range d.Config.WANUplinks {
		if u.Link == link {
			all = append(all, u.Sources...)
		}
	}
	all = append(all, d.Networks[link]...)
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// uplinkNAT translates what leaves by named uplinks: IPv4 always, as a flow may leave by any of them, and
// IPv6 where its source can have no answer there: unique local addresses, and those of another
// uplink that does not work.
func (d *builder) uplinkNAT() []rule.Rule {
	var rules []rule.Rule
	if d.Config.WANNoSNAT {
		return nil
	}
	for _, u := range d.named() {
		add := func(match ...rule.Part) {
			match = append([]rule.Part{rule.Oifname(u.Egress.Link)}, match...)
			rules = append(rules, rule.New("wan: by "+u.Name, append(match, rule.Masquerade())...))
		}
		add(rule.NFProto(gateway.V4))
		add(rule.SaddrWithin(netip.MustParsePrefix("fc00::/7")))
		if !d.NoFIB {
			add(rule.NFProto(gateway.V6), rule.NoInput(), rule.SourceNotOfLink())
		}
		for _, o := range d.named() {
			for _, p := range d.sources(o.Name) {
				if o.Name != u.Name {
					add(rule.SaddrWithin(p))
				}
			}
		}
	}
	return rules
}

// chosenUplinks stores the uplink that a socket of ours chose by its mark: probes.
func (d *builder) chosenUplinks(marks chosenMarks) []rule.Rule {
	var rules []rule.Rule
	for _, u := range d.named() {
		rules = append(rules, rule.New("wan: by "+u.Name+", chosen by the socket's mark",
			slices.Concat([]rule.Part{marks.exactly(u.Mark.Value)}, d.withWAN(u.Mark), []rule.Part{rule.Accept()})...))
	}
	return rules
}
