package nft

import "github.com/nameroute/nameroute/gateway"

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
func (d *desire) classify() []rule {
	var rules []rule
	for _, f := range gateway.Families {
		rules = append(rules, newRule("errors about a route's packets", ctRelated(), daddrIn(f, familySet(setKeep, f)), accept()))
	}
	keep := func(name string, m gateway.Mark, bothWays bool) {
		match := []part{ctMarkIs(m)}
		if !bothWays {
			match = append([]part{ctOriginal()}, match...)
		}
		rules = append(rules, newRule(name+": a flow keeps its route", append(match, setMark(m), accept())...))
	}
	for _, r := range d.Config.Routes {
		keep(r.Name, r.Mark, d.Egress[r.Name].Inbound)
	}
	keep(gateway.WAN, d.wan, d.wanInbound())
	rules = append(rules, newRule("older than the listing", ctEstablished(), accept()))
	for _, f := range gateway.Families {
		rules = append(rules, newRule("never rerouted", daddrIn(f, familySet(setKeep, f)), accept()))
	}
	for _, r := range d.Config.Routes {
		if r.Private {
			rules = append(rules, d.take(r, setSpecial)...)
		}
	}
	for _, f := range gateway.Families {
		rules = append(rules, newRule("special use", daddrIn(f, familySet(setSpecial, f)), accept()))
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
func (d *desire) take(r gateway.Route, within string) []rule {
	mark, comment := r.Mark, r.Name
	if r.OnDown == gateway.FallBack && d.Egress[r.Name].Down {
		mark, comment = d.wan, r.Name+": down, by the wan"
	}
	var rules []rule
	for _, f := range gateway.Families {
		names := []string{r.Set(f)}
		for _, s := range d.prefixes[r.PrefixSet(f)] {
			names = append(names, s.name)
		}
		for _, name := range names {
			sets := []string{name}
			if within != "" {
				sets = []string{familySet(within, f), name}
			}
			rules = append(rules, newRule(comment, daddrIn(f, sets...), setMark(mark), setCtMark(mark), accept()))
		}
	}
	return rules
}

// doorSuffix ends the comment of a closed door, behind the route's name.
const doorSuffix = ": closed door"

// closedDoor drops what carries a route's mark and would leave by anything but the
// route's links: forwarded and own packets alike, because the output hook still
// sees the kernel route from before the mark. lo is for packets to the box itself.
func (d *desire) closedDoor() []rule {
	var rules []rule
	for _, r := range d.Config.Routes {
		parts := []part{markIs(r.Mark)}
		for _, link := range d.links(r) {
			parts = append(parts, notOifname(link))
		}
		door := newRule(r.Name+doorSuffix, append(parts, notOifname("lo"), count(), drop())...)
		door.carry = true
		rules = append(append(rules, door), d.untranslated(r)...)
		rules = append(rules, d.passedOn(r)...)
	}
	return append(append(rules, d.stray()...), d.gone()...)
}

// gone drops what is left of routes that were removed. Until the sidecar has deleted
// their flows, these would leave by the WAN with the tunnel's source address.
func (d *desire) gone() []rule {
	var rules []rule
	for _, m := range d.Gone {
		rules = append(rules,
			newRule("a route that is gone", markIs(m), notOifname("lo"), drop()),
			newRule("a flow of a route that is gone", ctMarkIs(m), notOifname("lo"), drop()))
	}
	return rules
}

// untranslated drops what would leave a translating egress with a foreign source:
// conntrack has no connection for it, so it passes no nat chain. While others have
// flushed the table, replies meet the box itself; its RST, sent when the table is
// back, would end the flow at the far host.
func (d *desire) untranslated(r gateway.Route) []rule {
	e := d.Egress[r.Name]
	four, six := e.Masquerade || e.SNAT4.IsValid(), e.Masquerade || e.SNAT6.IsValid()
	if !four && !six {
		return nil
	}
	var rules []rule
	for _, link := range d.links(r) {
		match := d.leaves(r, link)
		switch {
		case !six:
			match = append(match, nfproto(gateway.V4))
		case !four:
			match = append(match, nfproto(gateway.V6))
		}
		rules = append(rules, newRule(r.Name+": of no connection, so not translated", append(match, ctInvalid(), drop())...))
	}
	return rules
}

// leaves matches what leaves by a route's link. One that is lan's or the WAN's, too,
// carries other people's packets: there only the route's own are meant.
func (d *desire) leaves(r gateway.Route, link string) []part {
	if d.Egress[r.Name].Inbound {
		return []part{oifname(link)}
	}
	return []part{markIs(r.Mark), oifname(link)}
}
