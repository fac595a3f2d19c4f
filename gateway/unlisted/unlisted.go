// Package unlisted makes the policy rules of `default: ROUTE`: those of packets without a mark
// of ours. They need no nft table. Where it is gone, what no list names takes the default route
// or nothing, as it does while the table marks it; and the box's own sockets have the default
// route's source address from the start.
package unlisted

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// The rules come in this order behind the routes' and the two that end those. The one with
// which table main is looked up by the kernel, 32766, is never reached by what a default route
// takes.
const (
	leftToMain     = 3 + iota // what is never rerouted, and what comes in by the WAN
	networksOfWAN             // of packets that are bound to the WAN
	boundToWAN                // then its defaults
	byDefault                 // the default route's table, which throws local networks
	thrownLocal               // which table main has
	takenByNothing            // and nothing else

	// The same three of clients. Of rules of one priority the kernel takes one with `not` and one
	// without for the same (rule_exists of fib_rules.c).
	ofClients = takenByNothing - byDefault + 1
)

// Add adds the rules to a state that has the routes' defaults, those of groups too.
func Add(s *policy.State, cfg *gateway.Config, in policy.Inputs) {
	clients, forClients := cfg.ClientsDefault()
	box, forBox := cfg.BoxDefault()
	if !forClients && !forBox {
		return
	}
	for _, f := range in.Supported() {
		b := builder{cfg: cfg, state: s, family: f}
		b.exclude()
		if forBox {
			b.bound(in)
			b.take(box, false)
		}
		if forClients {
			b.arrived(in)
			b.take(clients, true)
		}
	}
	s.Sort()
}

type builder struct {
	cfg    *gateway.Config
	state  *policy.State
	family gateway.Family
}

func (b builder) add(at int, r policy.Rule) {
	r.Family, r.Priority = b.family, b.cfg.LastRoutePriority()+at
	b.state.Rules = append(b.state.Rules, r)
}

// exclude leaves what is never rerouted to table main, whole: the nft table does not mark it.
func (b builder) exclude() {
	var seen []netip.Prefix
	for _, p := range slices.Concat(b.cfg.Exclude, gateway.LinkScoped()) {
		if p = p.Masked(); gateway.FamilyOf(p.Addr()) == b.family && !p.Addr().IsLoopback() && !slices.Contains(seen, p) {
			seen = append(seen, p)
			b.add(leftToMain, policy.Rule{Dst: p, Table: unix.RT_TABLE_MAIN, Suppress: -1})
		}
	}
}

// bound lets sockets of the box use the WAN that are bound to its interface or its address: DHCP
// clients, what asks for an uplink by its name, and all that answers what came in via the WAN. Not
// from an IPv6 address: where the default route is down, the kernel chooses an address of any link
// for a socket that has none, and looks for a way again (ip6_dst_lookup_tail).
func (b builder) bound(in policy.Inputs) {
	for _, name := range in.Uplinks(b.cfg) {
		wan := b.tableOf(name)
		add := func(r policy.Rule) {
			r.Iif = "lo"
			r.Table, r.Suppress = unix.RT_TABLE_MAIN, gateway.Suppressed(b.family)
			b.add(networksOfWAN, r)
			r.Table, r.Suppress = wan, -1
			b.add(boundToWAN, r)
		}
		add(policy.Rule{Oif: name})
		i := slices.IndexFunc(in.Links, func(l policy.Link) bool { return l.Name == name })
		if i < 0 {
			continue
		}
		for _, a := range in.Links[i].Addrs {
			if a.Is4() && b.family == gateway.V4 && !a.IsLinkLocalUnicast() {
				add(policy.Rule{Src: netip.PrefixFrom(a.WithZone(""), a.BitLen())})
			}
		}
	}
}

// tableOf returns the table of what leaves by a link of the WAN and by no other: the WAN's, where
// that has only one.
func (b builder) tableOf(link string) int {
	wan := b.cfg.WANRoute()
	for _, m := range b.cfg.Members(wan) {
		if m.Egress.Link == link {
			return m.Table
		}
	}
	return wan.Table
}

// arrived leaves to table main what has come in via the WAN. On a link that lan shares it may be
// a client's.
func (b builder) arrived(in policy.Inputs) {
	for _, name := range in.Uplinks(b.cfg) {
		if !slices.Contains(b.cfg.LAN, name) {
			b.add(leftToMain, policy.Rule{Iif: name, Table: unix.RT_TABLE_MAIN, Suppress: -1})
		}
	}
}

// take gives what is left to the default route, or to nothing: that of clients, which come in
// by any interface, or the box's own.
func (b builder) take(r gateway.Route, clients bool) {
	of, later := policy.Rule{Iif: "lo", Invert: clients, Suppress: -1}, 0
	if clients {
		later = ofClients
	}
	table := of
	table.Table = r.Table
	local := of
	local.Table, local.Suppress = unix.RT_TABLE_MAIN, gateway.Suppressed(b.family)
	if r.OnDown == gateway.FallBack && !b.up(r) {
		table.Table = b.cfg.WANRoute().Table
		b.add(byDefault+later, local) // the WAN's table throws nothing
		b.add(thrownLocal+later, table)
		return
	}
	last := of
	last.Unreachable = true
	b.add(byDefault+later, table)
	b.add(thrownLocal+later, local)
	b.add(takenByNothing+later, last)
}

// up reports whether a route has a default of any family.
func (b builder) up(r gateway.Route) bool {
	return slices.ContainsFunc(b.state.KernelRoutes, func(k policy.KernelRoute) bool {
		return k.Table == r.Table && !k.Dst.IsValid() && len(k.Hops) > 0
	})
}
