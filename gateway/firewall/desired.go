package firewall

import (
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// Spec is what Desired makes the table from: the configuration and what is known
// of the box now.
type Spec struct {
	Config    *gateway.Config
	Egress    map[string]Egress         // by route name; a route without an entry has no links yet
	WANLinks  []string                  // interfaces that the WAN's default kernel routes leave by
	Local     []netip.Prefix            // the box's own addresses and connected networks
	Prefixes  map[string][]netip.Prefix // from lists, by route name
	Listeners []Listener                // sockets that only lan and the box itself may reach
	Gone      []gateway.Mark            // of routes that were removed a moment ago
}

// Egress is what is known of a route's egress.
type Egress struct {
	Links      []string   // interfaces that the route leaves by
	Inbound    bool       // connections that come in by Links belong to the route; false where a link is lan's or the WAN's, too
	SNAT4      netip.Addr // source address on Links; invalid: none
	SNAT6      netip.Addr
	Masquerade bool // for egresses whose address changes
	MTU        int  // of Links, in bytes; 0 is unknown and clamps nothing
	Down       bool // the route's table has no default now
}

// Listener is a socket of ours that answers queries.
type Listener struct {
	Addr  netip.Addr // invalid or unspecified is every address
	Proto string     // udp or tcp
	Port  uint16
	DNS   bool // plain DNS, which lan's questions to others may be sent on to
}

// plain is the listener with one form of each address, the zero one for all.
func (l Listener) plain() Listener {
	l.Addr = l.Addr.Unmap().WithZone("")
	if !l.Addr.IsValid() || l.Addr.IsUnspecified() {
		l.Addr = netip.Addr{}
	}
	return l
}

// The chains, and the sets that no route owns. A chain cannot be called snat:
// nft(8) takes that for a keyword, and nobody could list or restore it.
const (
	chainClassify = "classify"
	chainDoor     = "closed_door"
	setKeep       = "keep"
	setSpecial    = "special"
)

// Desired computes the table from the spec. It is pure.
func Desired(s Spec) *nft.Table {
	d := desire{Spec: s, mask: uint32(s.Config.Mask), wan: s.Config.WANRoute().Mark, prefixes: map[string][]nft.Set{}}
	for _, r := range s.Config.Routes {
		for _, f := range gateway.Families {
			name := r.PrefixSet(f)
			d.prefixes[name] = prefixSets(name, f, s.Prefixes[r.Name], maxRanges)
		}
	}
	return &nft.Table{
		Name: gateway.TableName,
		Sets: d.sets(),
		Chains: append([]nft.Chain{
			{Name: chainClassify, Rules: d.classify()},
			{Name: "prerouting", Type: "filter", Hook: "prerouting", Priority: nft.PriorityMangle, Rules: d.prerouting()},
			{Name: "sent_on", Type: "filter", Hook: "prerouting", Priority: nft.PriorityDstNAT + 1, Rules: d.sentOn()},
			{Name: "output", Type: "route", Hook: "output", Priority: nft.PriorityMangle, Rules: d.output()},
			{Name: chainDoor, Type: "filter", Hook: "postrouting", Priority: nft.PrioritySrcNAT - 1, Rules: d.closedDoor()},
			{Name: "source_nat", Type: "nat", Hook: "postrouting", Priority: nft.PrioritySrcNAT, Rules: d.sourceNAT()},
			{Name: "mss_in", Type: "filter", Hook: "forward", Priority: nft.PriorityMangle, Rules: d.mss(nft.Iifname)},
			{Name: "mss_out", Type: "filter", Hook: "postrouting", Priority: nft.PriorityMangle, Rules: d.mss(nft.Oifname)},
			{Name: "input", Type: "filter", Hook: "input", Priority: nft.PriorityFilter, Rules: d.input()},
		}, slices.Concat(d.leftOver(), d.redirect())...),
	}
}

type desire struct {
	Spec
	mask     uint32
	wan      gateway.Mark
	prefixes map[string][]nft.Set // of routes, by the name that they have in one piece
}

// links are a route's interfaces, sorted, so that the table does not depend on the
// order in which they were found.
func (d *desire) links(r gateway.Route) []string { return sortedLinks(d.Egress[r.Name].Links) }

func sortedLinks(links []string) []string {
	out := slices.Clone(links)
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(l string) bool {
		return l == "" || len(l) > gateway.MaxInterfaceName
	})
}

func (d *desire) sets() []nft.Set {
	var sets []nft.Set
	for _, f := range gateway.Families {
		sets = append(sets, nft.Set{Name: familySet(setKeep, f), Family: f, Ranges: d.Kept(f), Required: true})
	}
	for _, f := range gateway.Families {
		sets = append(sets, nft.Set{Name: familySet(setSpecial, f), Family: f, Ranges: nft.Merge(specialPrefixes[:], f), Required: true})
	}
	sets = append(append(sets, d.exceptSets()...), d.movedSets()...)
	for _, r := range d.Config.Routes {
		for _, f := range gateway.Families {
			sets = append(sets, nft.Set{Name: r.Set(f), Family: f, Timeout: true, Size: d.Config.SetSize})
		}
		for _, f := range gateway.Families {
			sets = append(sets, d.prefixes[r.PrefixSet(f)]...)
		}
	}
	return sets
}

// familySet names a set that no route owns as a route of that name would.
func familySet(name string, f gateway.Family) string { return gateway.Route{Name: name}.Set(f) }

// prerouting: what comes in by a way out belongs to it, so that its replies go
// back there; everything else is classified.
func (d *desire) prerouting() []nft.Rule {
	rules := d.fromMoved()
	arrive := func(link, name string, m gateway.Mark) {
		rules = append(rules,
			nft.NewRule(name+": replies go back by it", nft.Iifname(link), nft.CtNew(), nft.SetCtMark(m)),
			nft.NewRule(name+": came in by it", nft.Iifname(link), nft.Accept()))
	}
	for _, r := range d.Config.Routes {
		if !d.Egress[r.Name].Inbound {
			continue
		}
		for _, link := range d.links(r) {
			arrive(link, r.Name, r.Mark)
		}
	}
	if d.wanInbound() {
		for _, link := range sortedLinks(d.WANLinks) {
			arrive(link, gateway.WAN, d.wan)
		}
	}
	return append(rules, nft.NewRule("everything else", nft.Jump(chainClassify)))
}

// wanInbound reports whether what comes in by the WAN's links is the WAN's alone. On
// a box with one interface for both, lan's packets come in there and must be classified.
func (d *desire) wanInbound() bool {
	return !slices.ContainsFunc(d.WANLinks, func(l string) bool { return slices.Contains(d.Config.LAN, l) })
}

// output: a socket that has chosen a route gives it to its flow, for what the kernel
// sends in its place and without its mark: a port unreachable quotes the answer that
// came too late, and would leave by the WAN.
func (d *desire) output() []nft.Rule {
	var rules []nft.Rule
	chose := func(name string, m gateway.Mark) {
		rules = append(rules, nft.NewRule(name+": the socket chose", nft.MarkIs(m), nft.SetCtMark(m), nft.Accept()))
	}
	for _, r := range d.Config.Routes {
		chose(r.Name, r.Mark)
	}
	chose(gateway.WAN, d.wan)
	return append(rules,
		nft.NewRule("the socket chose", nft.MarkIsSet(d.mask), nft.Accept()),
		nft.NewRule("the box's own", nft.Jump(chainClassify)))
}

func (d *desire) sourceNAT() []nft.Rule {
	var rules []nft.Rule
	for _, r := range d.Config.Routes {
		e := d.Egress[r.Name]
		for _, link := range d.links(r) {
			add := func(p nft.Part) { rules = append(rules, nft.NewRule(r.Name, append(d.leaves(r, link), p)...)) }
			if e.Masquerade {
				add(nft.Masquerade())
				continue
			}
			for _, a := range []netip.Addr{e.SNAT4, e.SNAT6} {
				if a.IsValid() {
					add(nft.SNAT(a))
				}
			}
		}
	}
	return rules
}

// mss clamps the segments of connections to what the egress can carry, in one
// direction: SYNs that come in by it (forward), or leave by it, our own among them
// (postrouting).
func (d *desire) mss(direction func(link string) nft.Part) []nft.Rule {
	headers := map[gateway.Family]int{gateway.V4: 20 + 20, gateway.V6: 40 + 20} // RFC 6691, RFC 8200 8.3
	var rules []nft.Rule
	for _, r := range d.Config.Routes {
		for _, link := range d.links(r) {
			for _, f := range gateway.Families {
				size := d.Egress[r.Name].MTU - headers[f]
				if size <= 0 || size > 65535 {
					continue
				}
				rules = append(rules, nft.NewRule(r.Name+": fits its MTU",
					nft.NFProto(f), direction(link), nft.TCPSYN(), nft.MaxSegment(uint16(size))))
			}
		}
	}
	return rules
}

// input: our resolver answers lan and the box itself, nobody else.
func (d *desire) input() []nft.Rule {
	rules := []nft.Rule{nft.NewRule("the box itself", nft.Iifname("lo"), nft.Accept())}
	for _, link := range sortedLinks(d.Config.LAN) {
		rules = append(rules, nft.NewRule("lan", nft.Iifname(link), nft.Accept()))
	}
	seen := map[Listener]bool{}
	for _, l := range d.Listeners {
		l = l.plain()
		l.DNS = false // the same socket all the same
		if seen[l] || (l.Proto != "udp" && l.Proto != "tcp") {
			continue
		}
		seen[l] = true
		parts := []nft.Part{nft.Dport(l.Proto, l.Port), nft.Count(), nft.Drop()}
		if l.Addr.IsValid() {
			parts = append([]nft.Part{nft.DaddrIs(l.Addr)}, parts...)
		}
		rules = append(rules, nft.NewRule("nobody else's resolver", parts...))
	}
	return rules
}
