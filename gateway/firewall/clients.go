package firewall

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// Classes of clients have routes of their own, which come before those of everybody, and
// listeners of their own, on which they find their blocks of the Corefile. Both take the
// very same match on arrival, and so does the kill switch, where another program has
// overwritten the mark of a packet that conntrack knows no flow of: in postrouting a forwarded
// packet still has its MAC address, and its source is yet to be translated.
const (
	chainClientsDNS = "clients_dns" // queries of classes, on arrival
	prefixClients   = "clients_"    // of the chain of a class's routes
	prefixLocal     = "local_"      // likewise, of packets to local addresses
	prefixLeaving   = "leaving_"    // likewise, of what leaves without a mark
	prefixDNS       = "dns_of_"     // of the chain that redirects a class's queries
)

// common are the routes that are for all clients.
func (d *builder) common() []gateway.Route {
	return slices.DeleteFunc(slices.Clone(d.Config.Choices()), func(r gateway.Route) bool { return len(r.Clients) > 0 })
}

// ofClass are the routes of one class.
func (d *builder) ofClass(class gateway.Clients) []gateway.Route {
	return slices.DeleteFunc(slices.Clone(d.Config.Routes), func(r gateway.Route) bool { return !slices.Contains(r.Clients, class.Name) })
}

// matches returns the alternatives of which one holds for packets of a class.
func matches(class gateway.Clients) (all [][]rule.Part) {
	for _, link := range sortedLinks(class.Links) {
		all = append(all, []rule.Part{rule.Iifname(link)})
	}
	for _, m := range class.MACs {
		all = append(all, []rule.Part{rule.EtherSaddr(m)})
	}
	for _, p := range class.Prefixes {
		all = append(all, []rule.Part{rule.SaddrWithin(p)})
	}
	return all
}

// byClass sends packets of classes to the chains of their routes.
func (d *builder) byClass(prefix string) (rules []rule.Rule) {
	for _, class := range d.Config.Clients {
		var of [][]rule.Part
		switch {
		case class.Route != "": // that of programs comes before all this
			of = arriving(class)
		case len(d.ofClass(class)) > 0:
			of = append(matches(class), d.programs(class)...)
		}
		for _, match := range of {
			rules = append(rules, rule.New(class.Name, append(match, rule.Jump(prefix+class.Name))...))
		}
	}
	return rules
}

// arriving is matches for what has come in: a prefix may have an address of the box.
func arriving(class gateway.Clients) (all [][]rule.Part) {
	for _, match := range matches(class) {
		all = append(all, append([]rule.Part{rule.Forwarded()}, match...))
	}
	return all
}

// classChains are the chains of the routes of classes. all says what becomes of the packets of a class
// whose route takes everything.
func (d *builder) classChains(prefix string, ofRoute func(r gateway.Route, within string) []rule.Rule, all func(r gateway.Route) []rule.Rule) (chains []nft.Chain) {
	for _, class := range d.Config.Clients {
		routes := d.ofClass(class)
		switch {
		case class.Route != "" && class.HasClients():
			r, _ := d.Config.Route(class.Route)
			chains = append(chains, nft.Chain{Name: prefix + class.Name, Rules: all(r)})
		case class.Route == "" && len(routes) > 0:
			chains = append(chains, nft.Chain{Name: prefix + class.Name, Rules: d.byDestination(routes, rule.Return(), ofRoute)})
		}
	}
	return chains
}

// allByRoute gives new flows to a route, whatever their destination. Those that the WAN takes have its
// label: they are not to be classified again.
func (d *builder) allByRoute(r gateway.Route) (rules []rule.Rule) {
	if r.Name != gateway.WAN && !d.fallsBack(r) {
		return d.newOfPrograms(r)
	}
	if len(d.named()) > 0 {
		if d.labels {
			rules = append(rules, rule.New("wan: whatever its destination", rule.SetCtLabel(wanLabel)))
		}
		rules = append(rules, rule.New("wan: by a member", rule.Jump(chainChooseWAN)))
	}
	return append(rules, rule.New(gateway.WAN, append(d.store(d.wan), rule.Accept())...))
}

// allLeaves judges what leaves without a mark, and is of a route whatever its destination.
func (d *builder) allLeaves(r gateway.Route) []rule.Rule {
	if r.Name == gateway.WAN || d.fallsBack(r) {
		return []rule.Rule{rule.New(gateway.WAN, rule.Accept())}
	}
	return []rule.Rule{rule.New(r.Name, rule.Goto(onlyVia(r)))}
}

func (d *builder) allIsLocal(r gateway.Route) []rule.Rule {
	return []rule.Rule{rule.New(r.Name, d.asLocal(r)...)}
}

// unansweredClients drops queries for this box of clients whose names go by one route, which no listener of
// their own answers: one of everybody's would ask another way.
func (d *builder) unansweredClients() (rules []rule.Rule) {
	for _, class := range d.Config.Clients {
		if class.Route == "" {
			continue
		}
		for _, match := range arriving(class) {
			for _, drop := range d.unanswered(class, Listener.reachable) {
				rules = append(rules, rule.New(drop.Comment, slices.Concat(match, drop.Parts)...))
			}
		}
	}
	return rules
}

// clientsDNS redirects the queries of classes to their listeners: those to this box, and
// with `redirect_dns` those to other resolvers. It comes before the redirection of all.
func (d *builder) clientsDNS() (chains []nft.Chain) {
	var rules []rule.Rule
	for _, class := range d.Config.Clients {
		own := d.listenersOf(class)
		if len(own) == 0 || !class.HasClients() {
			continue
		}
		for _, match := range matches(class) {
			rules = append(rules, rule.New(class.Name, append(match, rule.Jump(prefixDNS+class.Name))...))
		}
		chains = append(chains, nft.Chain{Name: prefixDNS + class.Name, Rules: d.toOwnListeners(own)})
	}
	if len(rules) == 0 {
		return nil
	}
	return append(chains, nft.Chain{Name: chainClientsDNS, Type: "nat", Hook: "prerouting", Priority: nft.PriorityDstNAT - 1, Rules: rules})
}

// listenersOf returns the listeners of a class.
func (d *builder) listenersOf(class gateway.Clients) (own []Listener) {
	for _, l := range d.Listeners {
		if l.Class == class.Name {
			own = append(own, l)
		}
	}
	return own
}

// onlyRedirected keeps other clients from the listeners of classes: only what was redirected
// there, which the match of the class decided, reaches them.
func (d *builder) onlyRedirected() (rules []rule.Rule) {
	for _, l := range d.Listeners {
		if l.Class != "" {
			rules = append(rules, rule.New(l.Class+": a listener of its own", rule.Dport(l.Proto, l.Port), rule.CtNotDNAT(), rule.Count(), rule.Drop()))
		}
	}
	return rules
}

func (d *builder) toOwnListeners(own []Listener) []rule.Rule {
	local, others := d.toOwn(own, Listener.reachable)
	if !d.Config.Redirect.On {
		return local
	}
	return slices.Concat(local, []rule.Rule{rule.New("exemptions", rule.Jump(chainDNSExempt))}, others)
}

// toOwn redirects queries to a class's listeners: those for this box, and those for others.
func (d *builder) toOwn(own []Listener, reachable func(Listener, gateway.Family) bool) (local, others []rule.Rule) {
	for _, f := range gateway.Families {
		for _, proto := range protocols {
			for _, port := range gateway.ClassPorts {
				l, ok := listenerAmong(own, f, proto, port, reachable)
				if !ok {
					continue
				}
				parts := []rule.Part{rule.NFProto(f), rule.Dport(proto, port)}
				here := rule.DestinationLocal()
				if d.NoFIB {
					here = rule.DaddrIn(f, familySet(setExclude, f))
				}
				local = append(local, rule.New("to this box", slices.Concat(parts, []rule.Part{here, translateTo(l)})...))
				if l.DNS {
					others = append(others, rule.New("to another resolver", append(parts, translateTo(l))...))
				}
			}
		}
	}
	return local, others
}
