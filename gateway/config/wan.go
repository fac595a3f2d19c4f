package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/yamlnode"
)

const (
	wantWAN     = "want auto, the name of an interface, or several such as [wan0, wan1]"
	wantUplinks = "want names of interfaces, such as [wan0, wan1], or with weights {wan0: 3, wan1: 1}"
	keySource   = "source"
)

// wanProbe asks the resolvers that a link was given for the root of all names.
var wanProbe = gateway.Probe{Kind: gateway.ProbeDNS, Name: "."}

// readWAN reads one interface, or several, which are a group.
func (c *builder) readWAN(v value) {
	rr := &routeReader{r: v.r, key: v.key, Route: gateway.Route{Name: gateway.WAN}}
	switch v.node.Kind {
	case yaml.SequenceNode:
		c.readUplinks(rr, v)
	case yaml.MappingNode:
		fields := append(rr.groupFields(), rr.probingFields()...)
		fields[0] = field{key: keyEgress, want: wantUplinks, read: func(v value) { c.readUplinks(rr, v) }}
		v.fields(append(fields, field{key: "snat", read: func(v value) {
			word, ok := v.word(string(gateway.SNATAuto), string(gateway.SNATOff))
			set(&c.WANNoSNAT)(word == string(gateway.SNATOff), ok)
		}}))
		if !rr.has(keyEgress) {
			v.r.problem(v.key, "", "has no "+keyEgress, "want "+keyEgress+": [wan0, wan1]")
			return
		}
	default:
		if s, ok := v.text(wantWAN); ok && s != "auto" {
			set(&c.WANLink)(v.link())
		}
		return
	}
	if len(c.WANUplinks) < 2 {
		c.oneUplink(v)
		return
	}
	rr.finishGroup()
	c.WANGroup = rr.Group
	if len(c.WANGroup.Probes) == 0 {
		c.WANGroup.Probes = []gateway.Probe{wanProbe}
	}
	for _, p := range c.WANGroup.Probes {
		if p.Kind == gateway.ProbeHandshake {
			v.r.problem(v.key+"."+keyProbes, string(p.Kind), "only valid with wireguard", "want ping, tcp, http or dns")
		}
	}
}

// oneUplink follows a single interface: there is nothing to move to.
func (c *builder) oneUplink(v value) {
	if v.node.Kind == yaml.MappingNode && len(c.WANUplinks) == 1 && !v.r.wrong(v.key+"."+keyEgress) {
		v.r.problem(v.key+"."+keyEgress, c.WANUplinks[0].Link, "is the only interface: there is nothing to move to", "want another one, or wan: "+c.WANUplinks[0].Link)
	}
	for _, u := range c.WANUplinks {
		c.WANLink = u.Link
	}
	c.WANUplinks = nil
}

func (c *builder) readUplinks(rr *routeReader, v value) {
	if v.isMapping() && !v.empty() {
		v.entries(wantUplinks, func(name string, key, child value) {
			if why, want := badLink(name); why != "" {
				key.problemWith(name, why, want)
				return
			}
			c.addUplink(rr, key, c.readUplink(rr, name, child))
		})
	} else {
		for _, item := range v.items(wantUplinks) {
			if name, ok := item.link(); ok {
				c.addUplink(rr, item, gateway.Uplink{Link: name})
			}
		}
	}
	switch n := len(c.WANUplinks); {
	case n == 0 && !v.r.wrong(v.key):
		v.problem("is empty", wantUplinks)
	case n > gateway.MaxMembers:
		v.problem(fmt.Sprintf("%d members", n), fmt.Sprintf("want at most %d", gateway.MaxMembers))
	}
}

// readUplink reads the weight of an interface, or its keys. The weight is noted in the group.
func (c *builder) readUplink(rr *routeReader, name string, v value) gateway.Uplink {
	u := gateway.Uplink{Link: name}
	weigh := func(v value) {
		if n, ok := v.number(1, gateway.MaxWeight); ok {
			rr.weighted = true
			rr.group.Members = append(rr.group.Members, gateway.Member{Route: name, Weight: n})
		}
	}
	if v.empty() || v.node.Kind == yaml.MappingNode {
		v.fields([]field{
			{key: "weight", read: weigh},
			{key: keyNextHop, want: wantHops, read: func(v value) { u.NextHops = v.pair(wantHops) }},
			{key: keySource, want: wantSource, read: func(v value) { u.Sources = v.sources() }},
		})
		return u
	}
	weigh(v)
	return u
}

const wantSource = "want prefixes of IPv6 that this provider has given, such as 2001:db8:1::/48"

func (v value) sources() (all []netip.Prefix) {
	for _, item := range v.items(wantSource) {
		p, ok := item.prefix()
		switch {
		case !ok:
		case p.Addr().Is4():
			item.problem("is IPv4, which is translated", wantSource)
		case p.Bits() == 0:
			item.problem("is every source", wantSource)
		default:
			all = append(all, p)
		}
	}
	return all
}

func (c *builder) addUplink(rr *routeReader, at value, u gateway.Uplink) {
	if slices.ContainsFunc(c.WANUplinks, func(o gateway.Uplink) bool { return o.Link == u.Link }) {
		at.problemWith(u.Link, "is a member already", "want it once")
		return
	}
	c.WANUplinks = append(c.WANUplinks, u)
	if !slices.ContainsFunc(rr.group.Members, func(m gateway.Member) bool { return m.Route == u.Link }) {
		rr.group.Members = append(rr.group.Members, gateway.Member{Route: u.Link, Weight: 1})
	}
	rr.r.positions[memberKey(rr.key, u.Link)] = positionOf(at.node)
}

// checkUplinks checks what of the WAN's interfaces depends on other keys, and on each other.
func (c *builder) checkUplinks() {
	key := gateway.WAN
	if c.positions.Has(key + "." + keyEgress) {
		key += "." + keyEgress
	}
	for i, u := range c.WANUplinks {
		refuse := func(value, why, want string) {
			c.problemAt(c.positions[memberKey(gateway.WAN, u.Link)], key, value, why, want)
		}
		switch {
		case u.Link == "lo":
			refuse(u.Link, "is the loopback interface", "")
		case slices.Contains(c.LAN, u.Link):
			refuse(u.Link, "is also in lan", "")
		}
		for _, r := range c.Routes {
			switch {
			case r.Egress.Link == u.Link && r.Egress.Kind != gateway.EgressNextHop:
				refuse(u.Link, "is also the interface of "+c.describe(r.Name), "want it in one place; names for the WAN need no route")
			case r.Name == u.Link:
				refuse(u.Link, "is also the name of "+c.describe(r.Name), "want another name for the route")
			}
		}
		for _, o := range c.WANUplinks[:i] {
			if hops, others := familiesOf(u.NextHops), familiesOf(o.NextHops); hops != "" && others != "" && hops != others {
				refuse(u.Link, fmt.Sprintf("has a next hop of %s, %s of %s: what has only one of them would stop when the WAN moves", hops, o.Link, others), "want the same families, or no next_hop: to follow table main")
				break
			}
			for _, p := range u.Sources {
				if slices.ContainsFunc(o.Sources, p.Overlaps) {
					refuse(p.String(), "is also a source of "+o.Link, "want each prefix at the provider that gave it")
				}
			}
		}
	}
	if len(c.Uplinks(nil)) < len(c.WANUplinks) && len(c.problems) == 0 {
		c.problem(key, "", fmt.Sprintf("the mask %#x leaves no number for each of them", uint32(c.Mask)), "want a mask of more bits")
	}
}

func familiesOf(hops []netip.Addr) string {
	var words []string
	for _, f := range gateway.Families {
		if slices.ContainsFunc(hops, func(a netip.Addr) bool { return gateway.FamilyOf(a) == f }) {
			words = append(words, fmt.Sprintf("IPv%d", f))
		}
	}
	return strings.Join(words, " and ")
}

// wanNode prints the WAN: auto, its interface, or the group.
func wanNode(c *gateway.Config) any {
	switch {
	case c.WANGroup == nil && c.WANLink == "":
		return "auto"
	case c.WANGroup == nil:
		return c.WANLink
	}
	pairs := groupPairs(c.WANGroup)
	var uplinks []any
	more := false
	for i, u := range c.WANUplinks {
		var keys []any
		if c.WANGroup.Policy == gateway.Balance {
			keys = append(keys, "weight", c.WANGroup.Members[i].Weight)
		}
		if len(u.NextHops) > 0 {
			keys, more = append(keys, keyNextHop, yamlnode.Flow(words(u.NextHops))), true
		}
		if len(u.Sources) > 0 {
			keys, more = append(keys, keySource, yamlnode.Flow(words(u.Sources))), true
		}
		uplinks = append(uplinks, u.Link, yamlnode.Mapping(keys...))
	}
	if more {
		pairs[1] = yamlnode.Mapping(uplinks...)
	}
	snat := gateway.SNATAuto
	if c.WANNoSNAT {
		snat = gateway.SNATOff
	}
	return yamlnode.Mapping(append(pairs, "snat", string(snat))...)
}
