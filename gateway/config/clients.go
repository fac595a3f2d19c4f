package config

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/yamlnode"
)

// Keys of a class of clients.
const (
	keyClients = "clients"
	keyPrefix  = "prefix"
	keyMAC     = "mac"
)

const (
	wantPrefixes = "want a list of addresses and prefixes, such as [192.168.1.40]"
	wantMACs     = `want a list of MAC addresses, such as ["00:00:5e:00:53:01"]`
)

// readClients reads the classes of clients.
func (c *builder) readClients(v value) {
	v.named("names of classes, each with its clients", func(name string, v value) {
		class := gateway.Clients{Name: name}
		before := len(v.r.problems)
		v.fields(classFields(&class))
		none := !class.HasClients() && !class.HasPrograms()
		if none && len(v.r.problems) == before && v.isMapping() {
			v.r.problem(v.key, "", "has no clients", "want one or more of prefix, mac, interface, user, group and cgroup")
		}
		c.Clients = append(c.Clients, class)
	})
}

func classFields(class *gateway.Clients) []field {
	return []field{
		{key: keyPrefix, want: wantPrefixes, read: func(v value) { class.Prefixes = v.prefixes() }},
		{key: keyMAC, want: wantMACs, read: func(v value) { class.MACs = v.macs() }},
		{key: keyInterface, want: wantLink, read: func(v value) { class.Links = v.links() }},
		{key: keyUser, want: wantUsers, read: func(v value) { class.Users = v.accounts(wantUsers) }},
		{key: keyGroup, want: wantGroups, read: func(v value) { class.Groups = v.accounts(wantGroups) }},
		{key: keyCgroup, want: wantCgroups, read: func(v value) { class.Cgroups = v.cgroups() }},
		{key: keyRoute, read: func(v value) { set(&class.Route)(v.text("want the name of a route")) }},
	}
}

// prefixes reads prefixes of clients.
func (v value) prefixes() (all []netip.Prefix) {
	for _, item := range v.items(wantPrefixes) {
		p, ok := item.prefix()
		switch {
		case !ok:
		case p.Bits() == 0:
			item.problem("is every client of its family", "want a longer prefix, or no class at all")
		default:
			addOnce(&all, item, p)
		}
	}
	return all
}

// macs reads MAC addresses.
func (v value) macs() (all []gateway.MAC) {
	for _, item := range v.items(wantMACs) {
		text, ok := item.text(wantMACs)
		if !ok {
			continue
		}
		mac, ok := gateway.ParseMAC(text)
		switch {
		case !ok:
			item.problem("not a MAC address", "want six bytes in hex, such as 00:00:5e:00:53:01, in quotes")
		case mac[0]&1 != 0:
			item.problem("is a multicast address", "want the address of a client")
		default:
			addOnce(&all, item, mac)
		}
	}
	return all
}

// readRouteClients reads the classes that a route is for. They may not have been read yet:
// the position of each name is stored, for checkClients.
func (rr *routeReader) readRouteClients(v value) {
	const want = "want names of classes of clients, such as [tv]"
	for _, item := range v.items(want) {
		name, ok := item.text(want)
		switch {
		case !ok:
		default:
			addOnce(&rr.Clients, item, name)
			rr.r.positions[nameKey(rr.Name, keyClients, name)] = positionOf(item.node)
		}
	}
}

// checkClients reports routes for unknown classes, interfaces of classes that lan does not
// have, and classes that would share their listeners or a client.
func (c *builder) checkClients() {
	var known []string
	for _, class := range c.Clients {
		known = append(known, class.Name)
	}
	for _, route := range c.Routes {
		if route.Evict && len(route.Clients) > 0 {
			c.problem("routes."+route.Name+".evict", "true", "the route is for some clients, and the flows of all others would be reset too", "want false, or no clients:")
		}
		c.checkKnown(route.Name, keyClients, route.Clients, known, "unknown class of clients", "add it to clients:")
	}
	for i, class := range c.Clients {
		key := "clients." + class.Name
		for _, link := range class.Links {
			if !slices.Contains(c.LAN, link) {
				c.problem(key+"."+keyInterface, link, "is not in lan", "want it in lan: too")
			}
		}
		c.checkClassRoute(key, class)
		for _, other := range c.Clients[:i] {
			c.checkTwoClasses(key, class, other)
		}
	}
}

// checkTwoClasses reports what two classes must not have in common.
func (c *builder) checkTwoClasses(key string, class, other gateway.Clients) {
	at := fmt.Sprintf("clients.%s on line %d", other.Name, c.positions.Find("clients."+other.Name).Line)
	if gateway.ClassPort(class.Name, 53) == gateway.ClassPort(other.Name, 53) {
		c.problem(key, "", "would have the listeners of "+at+", whose ports are derived from the names", "want another name for one of the two")
	}
	twice := func(name string, of, others []string) {
		for _, s := range of {
			if slices.Contains(others, s) {
				c.problem(key+"."+name, s, "is also in "+at, "want it in one of the two")
			}
		}
	}
	twice(keyPrefix, words(class.Prefixes), words(other.Prefixes))
	twice(keyMAC, words(class.MACs), words(other.MACs))
	twice(keyInterface, class.Links, other.Links)
	twice(keyUser, class.Users, other.Users)
	twice(keyGroup, class.Groups, other.Groups)
	twice(keyCgroup, class.Cgroups, other.Cgroups)
}

// clientsPairs returns the names and keys of the classes in turn.
func clientsPairs(all []gateway.Clients) []any {
	var pairs []any
	for _, class := range all {
		var keys []any
		add := func(key string, list []string) {
			if len(list) > 0 {
				keys = append(keys, key, yamlnode.Flow(list))
			}
		}
		add(keyPrefix, words(class.Prefixes))
		add(keyMAC, words(class.MACs))
		add(keyInterface, class.Links)
		add(keyUser, class.Users)
		add(keyGroup, class.Groups)
		add(keyCgroup, class.Cgroups)
		if class.Route != "" {
			keys = append(keys, keyRoute, class.Route)
		}
		pairs = append(pairs, class.Name, yamlnode.Mapping(keys...))
	}
	return pairs
}
