package firewall

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// Programs of the box are of a class by the user, group or cgroup that opened the socket. A
// class with a route of its own takes it with everything but local packets, and each packet
// is judged: one of a flow that has begun another way is dropped, and not sent that way. All
// queries of such a class reach its listener, or nothing: what a resolver of this box would
// ask for it is no packet of its own.
const (
	prefixPrograms   = "programs_"    // of the chain for the packets of a class
	chainProgramsDNS = "programs_dns" // queries of classes of programs, on their way out
	prefixOwnDNS     = "own_dns_of_"  // of the chain that redirects a class's queries
)

// programs returns the alternatives of which one holds for packets of a class's programs, in
// the hooks of packets that leave.
func (d *builder) programs(class gateway.Clients) (all [][]rule.Part) {
	found := d.Programs[class.Name]
	add := func(p rule.Part) { all = append(all, []rule.Part{rule.NoInput(), p}) }
	for _, n := range found.UIDs {
		add(rule.SkUID(n))
	}
	for _, n := range found.GIDs {
		add(rule.SkGID(n))
	}
	if !d.NoCgroups {
		for _, g := range found.Cgroups {
			add(rule.SocketCgroup(g))
		}
	}
	return all
}

// routed are the classes of programs that have a route for all they send.
func (d *builder) routed() []gateway.Clients {
	return slices.DeleteFunc(slices.Clone(d.Config.Clients), func(c gateway.Clients) bool { return c.Route == "" || !c.HasPrograms() })
}

// toPrograms sends packets of programs to the chain of their class.
func (d *builder) toPrograms() (rules []rule.Rule) {
	for _, class := range d.routed() {
		for _, match := range d.programs(class) {
			rules = append(rules, rule.New(class.Name, append(match, rule.Goto(prefixPrograms+class.Name))...))
		}
	}
	return rules
}

func (d *builder) programsChains() (chains []nft.Chain) {
	for _, class := range d.routed() {
		r, _ := d.Config.Route(class.Route)
		chains = append(chains, nft.Chain{Name: prefixPrograms + class.Name, Rules: slices.Concat(
			d.unanswered(class, Listener.here), d.ofRoute(r), d.localOfPrograms(r), d.otherFlows(class), d.newOfPrograms(r))})
	}
	return chains
}

// ofRoute classifies flows that have the route already.
func (d *builder) ofRoute(r gateway.Route) (rules []rule.Rule) {
	routes, wan := []gateway.Route{r}, d.Config.WANRoute()
	if r.Name != gateway.WAN {
		routes = append(d.Config.Members(r), r)
	}
	if r.OnDown == gateway.FallBack {
		routes = append(routes, wan)
	}
	for _, r := range routes {
		if r.Name == gateway.WAN {
			rules = append(rules, d.ofUplinks()...)
		}
		for _, fact := range d.flowFacts(r.Mark) {
			rules = append(rules, rule.New(r.Name+": flow keeps its route", fact, rule.Goto(chainClassify)))
		}
	}
	return rules
}

// ofUplinks keeps the WAN's flows on their link, whatever their destination.
func (d *builder) ofUplinks() (rules []rule.Rule) {
	for _, u := range d.uplinks() {
		facts := []rule.Part{rule.CtMarkIs(u.Mark)}
		if len(d.named()) > 0 {
			facts = d.flowFacts(u.Mark)
		}
		for _, fact := range facts {
			rules = append(rules, rule.New("wan: flow keeps "+u.Name, slices.Concat([]rule.Part{fact, rule.SetMark(u.Mark)}, d.withWAN(u.Mark), []rule.Part{rule.Accept()})...))
		}
	}
	return rules
}

// newByWAN gives new flows the WAN: the link that the kernel has chosen, or a member in force.
func (d *builder) newByWAN() (rules []rule.Rule) {
	give := func(u gateway.Route, match ...rule.Part) {
		rules = append(rules, rule.New("wan: by "+u.Name, slices.Concat(match, []rule.Part{rule.SetMark(u.Mark)}, d.withWAN(u.Mark), []rule.Part{rule.Accept()})...))
	}
	for _, u := range d.named() {
		give(u, rule.Oifname(u.Egress.Link))
	}
	if len(d.named()) > 0 {
		for _, f := range gateway.Families {
			for _, s := range d.inForce(d.Config.WANRoute(), f) {
				give(s.route, rule.NFProto(f)) // the first one takes all
			}
		}
		return rules
	}
	return []rule.Rule{rule.New(gateway.WAN, append(d.store(d.wan), rule.Accept())...)}
}

// localOfPrograms marks packets to local addresses as localChain does.
func (d *builder) localOfPrograms(r gateway.Route) []rule.Rule {
	if !d.labels {
		return d.excluded(setExclude)
	}
	rules := d.excluded(setAlwaysExcluded)
	if !d.NoFIB {
		rules = append(rules, rule.New("to the box itself", rule.DestinationLocal(), rule.Accept()))
	}
	for _, f := range gateway.Families {
		to := rule.DaddrIn(f, familySet(setExclude, f))
		rules = append(rules, rule.New("local, no flow", to, rule.CtNone(), rule.Accept()),
			rule.New("local", to, rule.SetMark(d.markNow(r)), rule.SetCtLabel(localLabel), rule.Accept()))
	}
	return rules
}

// markNow is the mark of packets that take a route now.
func (d *builder) markNow(r gateway.Route) gateway.Mark {
	if d.fallsBack(r) {
		return d.wan
	}
	if r.Name == gateway.WAN {
		return d.wan
	}
	return d.egressOf(r, gateway.V4).Mark
}

func (d *builder) otherFlows(class gateway.Clients) []rule.Rule {
	return []rule.Rule{rule.New(class.Name+": flow has begun another way", rule.CtEstablished(), rule.Count(), rule.Drop())}
}

func (d *builder) newOfPrograms(r gateway.Route) []rule.Rule {
	switch {
	case r.Name == gateway.WAN || d.fallsBack(r):
		return d.newByWAN()
	case r.Group != nil:
		return []rule.Rule{rule.New(r.Name, rule.Goto(choose(r)))}
	}
	return []rule.Rule{rule.New(r.Name, append(d.store(d.markNow(r)), rule.Accept())...)}
}

// programsDNS redirects queries of programs to the listeners of their class: of one with a
// route all plain ones, whatever resolver they are for, of others those to this box.
func (d *builder) programsDNS() (chains []nft.Chain) {
	var rules []rule.Rule
	for _, class := range d.Config.Clients {
		matches, own := d.programs(class), d.listenersOf(class)
		if len(matches) == 0 || len(own) == 0 {
			continue
		}
		for _, match := range matches {
			rules = append(rules, rule.New(class.Name, append(match, rule.Jump(prefixOwnDNS+class.Name))...))
		}
		local, others := d.toOwn(own, Listener.here)
		if class.Route != "" {
			local = append(local, others...)
		}
		chains = append(chains, nft.Chain{Name: prefixOwnDNS + class.Name, Rules: local})
	}
	if len(rules) == 0 {
		return nil
	}
	return append(chains, nft.Chain{Name: chainProgramsDNS, Type: "nat", Hook: "output", Priority: nft.PriorityDstNAT - 1, Rules: rules})
}

// here reports whether the box itself reaches the listener by a family.
func (l Listener) here(f gateway.Family) bool {
	return !l.Addr.IsValid() || gateway.FamilyOf(l.Addr) == f && !l.Addr.IsLinkLocalUnicast()
}

// unanswered drops queries of a class to local resolvers that no listener of its own answers.
func (d *builder) unanswered(class gateway.Clients, reachable func(Listener, gateway.Family) bool) (rules []rule.Rule) {
	own := d.listenersOf(class)
	for _, f := range gateway.Families {
		for _, proto := range protocols {
			if _, ok := listenerAmong(own, f, proto, PortDNS, reachable); !ok {
				rules = append(rules, rule.New(class.Name+": no listener of its own", rule.DaddrIn(f, familySet(setExclude, f)), rule.Dport(proto, PortDNS), rule.Drop()))
			}
		}
	}
	return rules
}

// foreignOfPrograms masquerades packets of programs that take the WAN with a source that was
// chosen for another way out: the kernel chooses it before the packet has its mark.
func (d *builder) foreignOfPrograms() (rules []rule.Rule) {
	byWAN := slices.ContainsFunc(d.routed(), func(c gateway.Clients) bool {
		r, _ := d.Config.Route(c.Route)
		return r.Name == gateway.WAN || r.OnDown == gateway.FallBack
	})
	if !byWAN || d.NoFIB || !d.labels {
		return nil
	}
	for _, link := range sortedLinks(d.WANLinks) {
		rules = append(rules, rule.New("wan: source of another way out", rule.NoInput(), rule.Oifname(link), rule.CtLabel(wanLabel), rule.SourceNotOfLink(), rule.Masquerade()))
	}
	return rules
}
