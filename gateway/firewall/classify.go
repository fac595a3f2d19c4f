package firewall

import (
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// classify decides which route a packet takes. The order is the meaning:
//
// An ICMP error to a local host, most of all the box's own "too big" and "no way out",
// belongs to the flow that it is about. It must not get that flow's mark, or the closed
// door would drop it on its way to the sender.
//
// A flow that has a route keeps it. Where connections that come in by the egress
// belong to the route, this is so for both directions: replies of a LAN server go
// back by the egress, and packets that arrive by the egress never get here. On a
// link that is lan's or the WAN's, too, replies do get here, and only the original
// direction is marked: a marked reply would go back out by the route.
//
// A flow without a route that is already established is older than the listing
// and is left alone. New ones are classified by destination: kept addresses first,
// then special-use addresses, which only `private: learn` routes may take, then
// the routes in the order of gateway.yaml.
func (d *desire) classify() []nft.Rule {
	var rules []nft.Rule
	for _, f := range gateway.Families {
		rules = append(rules, nft.NewRule("errors about a route's packets", nft.CtRelated(), nft.DaddrIn(f, familySet(setKeep, f)), nft.Accept()))
	}
	keep := func(name string, m gateway.Mark, bothWays bool) {
		match := []nft.Part{nft.CtMarkIs(m)}
		if !bothWays {
			match = append([]nft.Part{nft.CtOriginal()}, match...)
		}
		rules = append(rules, nft.NewRule(name+": a flow keeps its route", append(match, nft.SetMark(m), nft.Accept())...))
	}
	for _, r := range d.Config.Routes {
		keep(r.Name, r.Mark, d.Egress[r.Name].Inbound)
	}
	keep(gateway.WAN, d.wan, d.wanInbound())
	rules = append(rules, nft.NewRule("older than the listing", nft.CtEstablished(), nft.Accept()))
	for _, f := range gateway.Families {
		rules = append(rules, nft.NewRule("never rerouted", nft.DaddrIn(f, familySet(setKeep, f)), nft.Accept()))
	}
	for _, r := range d.Config.Routes {
		if r.Private {
			rules = append(rules, d.take(r, setSpecial)...)
		}
	}
	for _, f := range gateway.Families {
		rules = append(rules, nft.NewRule("special use", nft.DaddrIn(f, familySet(setSpecial, f)), nft.Accept()))
	}
	for _, r := range d.Config.Routes {
		rules = append(rules, d.take(r, "")...)
	}
	return rules
}

// take sends new flows to a route's addresses by the route; with within, only those
// that are in that set, too, so that a `private: learn` route comes before
// special use and still keeps its place among the others for public addresses.
// While a route with `on_down: wan` is down, new flows go by the WAN and stay there.
func (d *desire) take(r gateway.Route, within string) []nft.Rule {
	mark, comment := r.Mark, r.Name
	if r.OnDown == gateway.FallBack && d.Egress[r.Name].Down {
		mark, comment = d.wan, r.Name+": down, by the wan"
	}
	var rules []nft.Rule
	for _, f := range gateway.Families {
		names := []string{r.Set(f)}
		for _, s := range d.prefixes[r.PrefixSet(f)] {
			names = append(names, s.Name)
		}
		for _, name := range names {
			sets := []string{name}
			if within != "" {
				sets = []string{familySet(within, f), name}
			}
			rules = append(rules, nft.NewRule(comment, nft.DaddrIn(f, sets...), nft.SetMark(mark), nft.SetCtMark(mark), nft.Accept()))
		}
	}
	return rules
}

// doorSuffix ends the comment of a closed door, behind the route's name.
const doorSuffix = ": closed door"

// closedDoor drops what carries a route's mark and would leave by anything but the
// route's links: forwarded and own packets alike, because the output hook still
// sees the kernel route from before the mark. lo is for packets to the box itself.
func (d *desire) closedDoor() []nft.Rule {
	var rules []nft.Rule
	for _, r := range d.Config.Routes {
		parts := []nft.Part{nft.MarkIs(r.Mark)}
		for _, link := range d.links(r) {
			parts = append(parts, nft.NotOifname(link))
		}
		door := nft.NewRule(r.Name+doorSuffix, append(parts, nft.NotOifname("lo"), nft.Count(), nft.Drop())...)
		door.KeepCounter = true
		rules = append(append(rules, door), d.untranslated(r)...)
		rules = append(rules, d.passedOn(r)...)
	}
	return append(append(rules, d.stray()...), d.gone()...)
}

// gone drops what is left of routes that were removed. Until the sidecar has deleted
// their flows, these would leave by the WAN with the tunnel's source address.
func (d *desire) gone() []nft.Rule {
	var rules []nft.Rule
	for _, m := range d.Gone {
		rules = append(rules,
			nft.NewRule("a route that is gone", nft.MarkIs(m), nft.NotOifname("lo"), nft.Drop()),
			nft.NewRule("a flow of a route that is gone", nft.CtMarkIs(m), nft.NotOifname("lo"), nft.Drop()))
	}
	return rules
}

// untranslated drops what would leave a translating egress with a foreign source:
// conntrack has no connection for it, so it passes no nat chain. While others have
// flushed the table, replies meet the box itself; its RST, sent when the table is
// back, would end the flow at the far host.
func (d *desire) untranslated(r gateway.Route) []nft.Rule {
	e := d.Egress[r.Name]
	four, six := e.Masquerade || e.SNAT4.IsValid(), e.Masquerade || e.SNAT6.IsValid()
	if !four && !six {
		return nil
	}
	var rules []nft.Rule
	for _, link := range d.links(r) {
		match := d.leaves(r, link)
		switch {
		case !six:
			match = append(match, nft.NFProto(gateway.V4))
		case !four:
			match = append(match, nft.NFProto(gateway.V6))
		}
		rules = append(rules, nft.NewRule(r.Name+": of no connection, so not translated", append(match, nft.CtInvalid(), nft.Drop())...))
	}
	return rules
}

// leaves matches what leaves by a route's link. One that is lan's or the WAN's, too,
// carries other people's packets: there only the route's own are meant.
func (d *desire) leaves(r gateway.Route, link string) []nft.Part {
	if d.Egress[r.Name].Inbound {
		return []nft.Part{nft.Oifname(link)}
	}
	return []nft.Part{nft.MarkIs(r.Mark), nft.Oifname(link)}
}
