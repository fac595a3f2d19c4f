package nft

import (
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
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
func Desired(s Spec) *Table {
	d := desire{Spec: s, mask: uint32(s.Config.Mask), wan: s.Config.WANRoute().Mark, prefixes: map[string][]set{}}
	for _, r := range s.Config.Routes {
		for _, f := range gateway.Families {
			name := r.PrefixSet(f)
			d.prefixes[name] = prefixSets(name, f, s.Prefixes[r.Name], maxRanges)
		}
	}
	return &Table{
		Name: gateway.TableName,
		sets: d.sets(),
		chains: append([]chain{
			{name: chainClassify, rules: d.classify()},
			{name: "prerouting", kind: "filter", hook: "prerouting", priority: priorityMangle, rules: d.prerouting()},
			{name: "sent_on", kind: "filter", hook: "prerouting", priority: priorityDstNAT + 1, rules: d.sentOn()},
			{name: "output", kind: "route", hook: "output", priority: priorityMangle, rules: d.output()},
			{name: chainDoor, kind: "filter", hook: "postrouting", priority: prioritySrcNAT - 1, rules: d.closedDoor()},
			{name: "source_nat", kind: "nat", hook: "postrouting", priority: prioritySrcNAT, rules: d.sourceNAT()},
			{name: "mss_in", kind: "filter", hook: "forward", priority: priorityMangle, rules: d.mss(iifname)},
			{name: "mss_out", kind: "filter", hook: "postrouting", priority: priorityMangle, rules: d.mss(oifname)},
			{name: "input", kind: "filter", hook: "input", priority: priorityFilter, rules: d.input()},
		}, slices.Concat(d.leftOver(), d.redirect())...),
	}
}

type desire struct {
	Spec
	mask     uint32
	wan      gateway.Mark
	prefixes map[string][]set // of routes, by the name that they have in one piece
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

func (d *desire) sets() []set {
	var sets []set
	for _, f := range gateway.Families {
		sets = append(sets, set{name: familySet(setKeep, f), family: f, ranges: d.Kept(f), base: true})
	}
	for _, f := range gateway.Families {
		sets = append(sets, set{name: familySet(setSpecial, f), family: f, ranges: Merge(specialPrefixes[:], f), base: true})
	}
	sets = append(append(sets, d.exceptSets()...), d.movedSets()...)
	for _, r := range d.Config.Routes {
		for _, f := range gateway.Families {
			sets = append(sets, set{name: r.Set(f), family: f, learned: true, size: d.Config.SetSize})
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
func (d *desire) prerouting() []rule {
	rules := d.fromMoved()
	arrive := func(link, name string, m gateway.Mark) {
		rules = append(rules,
			newRule(name+": replies go back by it", iifname(link), ctNew(), setCtMark(m)),
			newRule(name+": came in by it", iifname(link), accept()))
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
	return append(rules, newRule("everything else", jump(chainClassify)))
}

// wanInbound reports whether what comes in by the WAN's links is the WAN's alone. On
// a box with one interface for both, lan's packets come in there and must be classified.
func (d *desire) wanInbound() bool {
	return !slices.ContainsFunc(d.WANLinks, func(l string) bool { return slices.Contains(d.Config.LAN, l) })
}

// output: a socket that has chosen a route gives it to its flow, for what the kernel
// sends in its place and without its mark: a port unreachable quotes the answer that
// came too late, and would leave by the WAN.
func (d *desire) output() []rule {
	var rules []rule
	chose := func(name string, m gateway.Mark) {
		rules = append(rules, newRule(name+": the socket chose", markIs(m), setCtMark(m), accept()))
	}
	for _, r := range d.Config.Routes {
		chose(r.Name, r.Mark)
	}
	chose(gateway.WAN, d.wan)
	return append(rules,
		newRule("the socket chose", markIsSet(d.mask), accept()),
		newRule("the box's own", jump(chainClassify)))
}

func (d *desire) sourceNAT() []rule {
	var rules []rule
	for _, r := range d.Config.Routes {
		e := d.Egress[r.Name]
		for _, link := range d.links(r) {
			add := func(p part) { rules = append(rules, newRule(r.Name, append(d.leaves(r, link), p)...)) }
			if e.Masquerade {
				add(masquerade())
				continue
			}
			for _, a := range []netip.Addr{e.SNAT4, e.SNAT6} {
				if a.IsValid() {
					add(snat(a))
				}
			}
		}
	}
	return rules
}

// mss clamps the segments of connections to what the egress can carry, in one
// direction: SYNs that come in by it (forward), or leave by it, our own among them
// (postrouting).
func (d *desire) mss(direction func(link string) part) []rule {
	headers := map[gateway.Family]int{gateway.V4: 20 + 20, gateway.V6: 40 + 20} // RFC 6691, RFC 8200 8.3
	var rules []rule
	for _, r := range d.Config.Routes {
		for _, link := range d.links(r) {
			for _, f := range gateway.Families {
				size := d.Egress[r.Name].MTU - headers[f]
				if size <= 0 || size > 65535 {
					continue
				}
				rules = append(rules, newRule(r.Name+": fits its MTU",
					nfproto(f), direction(link), tcpSYN(), maxSegment(uint16(size))))
			}
		}
	}
	return rules
}

// input: our resolver answers lan and the box itself, nobody else.
func (d *desire) input() []rule {
	rules := []rule{newRule("the box itself", iifname("lo"), accept())}
	for _, link := range sortedLinks(d.Config.LAN) {
		rules = append(rules, newRule("lan", iifname(link), accept()))
	}
	seen := map[Listener]bool{}
	for _, l := range d.Listeners {
		l = l.plain()
		l.DNS = false // the same socket all the same
		if seen[l] || (l.Proto != "udp" && l.Proto != "tcp") {
			continue
		}
		seen[l] = true
		parts := []part{dport(l.Proto, l.Port), count(), drop()}
		if l.Addr.IsValid() {
			parts = append([]part{daddrIs(l.Addr)}, parts...)
		}
		rules = append(rules, newRule("nobody else's resolver", parts...))
	}
	return rules
}
