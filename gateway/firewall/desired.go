package firewall

import (
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/nft/rule"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// Spec is the input of Desired: the configuration, and the state of the box.
type Spec struct {
	Config    *gateway.Config
	Egress    map[string]Egress           // by route name; a route without an entry has no links yet
	InForce   map[string]InForce          // by name of a group; without an entry none is
	Working   InForce                     // members of the WAN that work, in force or not
	Networks  map[string][]netip.Prefix   // of IPv6, that are connected to an interface of the WAN's members
	WANLinks  []string                    // interfaces of the WAN's default kernel routes
	Local     []netip.Prefix              // the box's own addresses and connected networks
	LAN       []netip.Prefix              // the part of Local that is the box itself or behind lan links
	Prefixes  map[string][]netip.Prefix   // from the lists, by route name
	Listeners []Listener                  // sockets that only lan and the box itself may reach
	Removed   []gateway.Mark              // of routes whose flows have not been deleted yet
	Programs  map[string]gateway.Programs // that are there, by class
	NoLabels  bool                        // the kernel's conntrack has no labels
	NoSockets bool                        // nftables cannot ask for the mark of a packet's socket
	NoCgroups bool                        // nftables cannot ask for the cgroup of a packet's socket
	NoFIB     bool                        // nftables cannot ask for the type of an address
}

// Egress is the state of a route's egress.
type Egress struct {
	Links   []string // interfaces
	Inbound bool     // connections that come in through Links belong to the route; false where lan or the WAN shares a link
	Source           // of all that leaves by Links
	Own     Source   // of what the box itself sends, where others keep theirs
	MTU     int      // of Links, in bytes; 0: unknown, clamps nothing
	Down    bool     // the routing table has no default
}

// Listener is a socket on which the resolver answers queries.
type Listener struct {
	Addr  netip.Addr // invalid or unspecified: every address
	Proto string     // udp or tcp
	Port  uint16
	DNS   bool // plain DNS, to which queries of lan to other resolvers can be redirected

	Class string // the class of clients whose queries are redirected to it; "" for all others
	For   uint16 // the port that those were sent to
}

// The chains, and the sets that no route owns. No chain is called snat:
// that is a keyword of nft(8), which could neither list nor restore it.
const (
	chainClassify   = "classify"
	chainKillSwitch = "kill_switch"
	chainInbound    = "inbound" // new connections through tunnels
	chainChosen     = "chosen"  // the box's own packets with a mark
	chainMarked     = "marked"  // what leaves with a mark
	setExclude      = "exclude"
	setSpecial      = "special"
)

// Desired computes the table from the spec. It is a pure function.
func Desired(s Spec) *nft.Table {
	d := builder{Spec: s, mask: uint32(s.Config.Mask), wan: s.Config.WANRoute().Mark, labels: s.hasLabels(), prefixes: map[string][]nft.Set{}}
	for _, r := range s.Config.Choices() {
		for _, f := range gateway.Families {
			name := r.PrefixSet(f)
			d.prefixes[name] = prefixSets(name, f, s.Prefixes[r.Name], maxRanges)
		}
	}
	chains := slices.Concat(d.classChains(prefixClients, d.routeNewFlows, d.allByRoute), d.classChains(prefixLeaving, d.leaving, d.allLeaves), []nft.Chain{
		{Name: chainClassify, Rules: d.classify()},
		{Name: "prerouting", Type: "filter", Hook: "prerouting", Priority: nft.PriorityLast, Rules: d.prerouting()},
		{Name: "output_first", Type: "filter", Hook: "output", Priority: nft.PriorityConntrack + 1, Rules: d.outputFirst()},
		{Name: "output", Type: "route", Hook: "output", Priority: nft.PriorityLast, Rules: d.output()},
		{Name: chainKillSwitch, Type: "filter", Hook: "postrouting", Priority: nft.PrioritySrcNAT - 1, Rules: d.killSwitch()},
		{Name: "source_nat", Type: "nat", Hook: "postrouting", Priority: nft.PriorityFirstNAT, Rules: d.sourceNAT()},
		{Name: "source_guard", Type: "filter", Hook: "postrouting", Priority: nft.PriorityLast - 1, Rules: d.foreignSources()},
		{Name: "mss_in", Type: "filter", Hook: "forward", Priority: nft.PriorityMangle, Rules: d.mss("mss_of_syn_in", rule.Iifname)},
		{Name: "mss_out", Type: "filter", Hook: "postrouting", Priority: nft.PriorityMangle, Rules: d.mss("mss_of_syn_out", rule.Oifname)},
		{Name: "input", Type: "filter", Hook: "input", Priority: nft.PriorityFilter, Rules: d.input()},
	}, d.localChain(), d.chooseChains(), d.chooseWAN(), d.onlyViaChains(), d.evictedStray(), d.redirectChains(), d.clientsDNS(), d.programsChains(), d.programsDNS())
	return &nft.Table{Name: gateway.TableName, Sets: d.sets(), Chains: append(chains, d.gated...)}
}

// builder makes the parts of the table.
type builder struct {
	Spec
	mask     uint32
	wan      gateway.Mark
	labels   bool                 // flows are labelled
	prefixes map[string][]nft.Set // of routes, by the name of the set before it is split
	gated    []nft.Chain          // what gate has made so far
}

// links returns a route's interfaces, sorted: the table must not depend on the order in
// which they were found.
func (d *builder) links(r gateway.Route) []string { return sortedLinks(d.Egress[r.Name].Links) }

func sortedLinks(links []string) []string {
	out := slices.Clone(links)
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(l string) bool {
		return l == "" || len(l) > gateway.MaxInterfaceName
	})
}

func (d *builder) sets() []nft.Set {
	var sets []nft.Set
	for _, f := range gateway.Families {
		sets = append(sets, nft.Set{Name: familySet(setExclude, f), Family: f, Ranges: d.Excluded(f), Required: true})
	}
	for _, f := range gateway.Families {
		sets = append(sets, nft.Set{Name: familySet(setSpecial, f), Family: f, Ranges: span.Merge(gateway.SpecialUse(), f), Required: true})
	}
	sets = slices.Concat(sets, d.alwaysExcludedSets(), d.dnsExemptSets(), d.evictedSets())
	for _, r := range d.Config.Choices() {
		for _, f := range gateway.Families {
			sets = append(sets, nft.Set{Name: r.Set(f), Family: f, Timeout: true, Size: d.Config.SetSize})
		}
		for _, f := range gateway.Families {
			sets = append(sets, d.prefixes[r.PrefixSet(f)]...)
		}
	}
	return sets
}

// familySet names a set that no route owns, in the form of a route's sets.
func familySet(name string, f gateway.Family) string { return gateway.Route{Name: name}.Set(f) }

// prerouting marks connections that come in through an egress, so that their replies
// leave through it. All other packets are classified. It follows the chains of other
// programs: what they write into the mark does not count, and what they translate is
// classified by where it goes.
func (d *builder) prerouting() []rule.Rule {
	var refused, arrived []rule.Rule
	for _, r := range d.Config.Routes {
		if d.Egress[r.Name].Inbound {
			refused = append(refused, d.refuseInbound(r)...)
		}
	}
	for _, a := range d.arrivals() {
		opens := append([]rule.Part{rule.Iifname(a.link), rule.CtNew()}, d.withWAN(a.mark)...)
		arrived = append(arrived,
			rule.New(a.name+": replies go back through its egress", opens...),
			rule.New(a.name+": came in through its egress", rule.Iifname(a.link), d.unmark(), rule.Accept()))
	}
	return slices.Concat(d.evictedHosts(),
		d.gate(chainInbound, "may be refused", []rule.Part{rule.CtNotOpened()}, append(refused, d.refuseOfGroup())),
		d.gate("arrives", "may come in through an egress", d.notFromLAN(), arrived),
		append(d.unansweredClients(), rule.New("everything else is classified", rule.Jump(chainClassify))),
		d.unlisted(d.Config.ClientsDefault()))
}

// unmark removes our bits, which another program has restored from the ct mark: replies do
// not take the route.
func (d *builder) unmark() rule.Part { return rule.SetMark(gateway.Mark{Mask: d.mask}) }

// arrival is a link by which only packets of one route, or of the WAN, come in.
type arrival struct {
	link, name string
	mark       gateway.Mark
}

func (d *builder) arrivals() []arrival {
	var all []arrival
	for _, r := range d.Config.Routes {
		if d.Egress[r.Name].Inbound {
			for _, link := range d.links(r) {
				all = append(all, arrival{link, r.Name, r.Mark})
			}
		}
	}
	if d.wanInbound() { // most packets do
		uplinks := d.uplinks()
		for _, link := range sortedLinks(d.WANLinks) {
			mark := d.wan
			if i := slices.IndexFunc(uplinks, func(u gateway.Route) bool { return u.Name == link }); i >= 0 {
				mark = uplinks[i].Mark
			}
			all = append(all, arrival{link, gateway.WAN, mark})
		}
	}
	return all
}

// wanInbound reports whether the WAN's links carry only the WAN. On a box with one
// interface for both, packets from lan arrive there and must be classified.
func (d *builder) wanInbound() bool {
	return !slices.ContainsFunc(d.WANLinks, func(l string) bool { return slices.Contains(d.Config.LAN, l) })
}

// chosen stores the route that a socket chose by its mark in the flow. The kernel replies
// in place of a closed socket, and without its mark: a port unreachable, which quotes the
// late answer, would leave by the WAN. To choose the WAN is to bypass the routes, so it
// takes the whole mark that we give a socket, and not one that has its bits among others.
func (d *builder) chosen(marks chosenMarks) []rule.Rule {
	var rules []rule.Rule
	add := func(name string, match rule.Part, m gateway.Mark) {
		rules = append(rules, rule.New(name+": chosen by the socket's mark", append(append([]rule.Part{match}, d.storeInFlow(m)...), rule.Accept())...))
	}
	if d.labels { // first, because every packet of a tunnel's has it
		add(gateway.WAN, marks.exactly(d.wan.Value), d.wan)
	} else {
		add(gateway.WAN, marks.of(d.wan), d.wan)
	}
	for _, r := range d.Config.Routes {
		add(r.Name, marks.of(r.Mark), r.Mark)
	}
	return append(rules, d.chosenUplinks(marks)...)
}

// chosenMarks match marks, of packets or of their sockets.
type chosenMarks struct {
	of      func(gateway.Mark) rule.Part
	exactly func(uint32) rule.Part
}

var ofPacket, ofSocket = chosenMarks{rule.MarkIs, rule.MarkIsExactly}, chosenMarks{rule.SocketMarkIs, rule.SocketMarkIsExactly}

// outputFirst reads the packets' marks before most other programs write them. The packets of
// WireGuard in the kernel have no other; those of sockets have the socket's, which nobody else writes.
func (d *builder) outputFirst() []rule.Rule {
	rules := d.gate(chainChosen, "its mark may choose", []rule.Part{rule.MarkIsSet(d.mask)}, d.chosen(ofPacket))
	if d.NoSockets {
		return rules
	}
	return append(rules, d.chosen(ofSocket)...)
}

// output classifies the box's own packets, unless their sockets chose. The lease of an
// uplink is renewed at the server that gave it, whatever its address: RFC 2131, RFC 8415.
func (d *builder) output() []rule.Rule {
	rules := []rule.Rule{rule.New("its mark may choose", rule.MarkIsSet(d.mask), rule.Jump(chainChosen))}
	for _, ports := range [][2]uint16{{68, 67}, {546, 547}} {
		for _, u := range d.named() {
			rules = append(rules, rule.New("the box's DHCP client, by "+u.Name, slices.Concat(
				[]rule.Part{rule.Oifname(u.Egress.Link), rule.UDPPorts(ports[0], ports[1]), rule.SetMark(u.Mark)}, d.withWAN(u.Mark), []rule.Part{rule.Accept()})...))
		}
		rules = append(rules, rule.New("the box's DHCP client", append(append([]rule.Part{rule.UDPPorts(ports[0], ports[1])}, d.store(d.wan)...), rule.Accept())...))
	}
	if !d.labels {
		rules = append(rules, rule.New("chosen by the socket's mark", rule.MarkIsSet(d.mask), rule.Accept()))
	}
	rules = append(rules, d.toPrograms()...)
	rules = append(rules, rule.New("the box's own packets are classified", rule.Jump(chainClassify)))
	return slices.Concat(rules, d.boundToWAN(), d.unlisted(d.Config.BoxDefault()))
}

// input keeps the resolver from being an open one: only lan and the box reach it.
func (d *builder) input() []rule.Rule {
	rules := append([]rule.Rule{rule.New("the box itself", rule.Iifname("lo"), rule.Accept())}, d.onlyRedirected()...)
	for _, link := range sortedLinks(d.Config.LAN) {
		rules = append(rules, rule.New("lan", rule.Iifname(link), rule.Accept()))
	}
	seen := map[Listener]bool{}
	for _, l := range d.Listeners {
		l = l.normalized()
		l.DNS, l.Class, l.For = false, "", 0 // not part of the socket's identity
		if seen[l] || (l.Proto != "udp" && l.Proto != "tcp") {
			continue
		}
		seen[l] = true
		parts := []rule.Part{rule.Dport(l.Proto, l.Port), rule.Count(), rule.Drop()}
		if l.Addr.IsValid() {
			parts = append([]rule.Part{rule.DaddrIs(l.Addr)}, parts...)
		}
		rules = append(rules, rule.New("no open resolver", parts...))
	}
	return rules
}
