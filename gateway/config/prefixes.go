package config

import (
	"slices"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// allowedIPs is written in place of a list for the AllowedIPs of a tunnel's peers.
const allowedIPs = "allowed_ips"

const keyPrefixes = "prefixes"

// readPrefixes reads the lists whose prefixes take the route. The lists may not have been
// read yet: the position of each name is stored, for checkPrefixes.
func (rr *routeReader) readPrefixes(v value) {
	for _, item := range v.items("want names of lists, such as [chnroute]") {
		name, ok := item.text("want the name of a list")
		switch {
		case !ok:
		case name == allowedIPs && rr.AllowedIPs:
			item.problem("duplicate", "")
		case name == allowedIPs:
			rr.AllowedIPs = true
		default:
			addOnce(&rr.Prefixes, item, name)
			rr.r.positions[nameKey(rr.Name, keyPrefixes, name)] = positionOf(item.node)
		}
	}
}

// nameKey is the key in Positions of a name in a list of a route's. The keys of the file
// have no space.
func nameKey(route, key, name string) string { return "routes." + route + "." + key + " " + name }

// checkPrefixes reports prefixes of unknown lists.
func (c *builder) checkPrefixes() {
	var known []string
	for _, l := range c.Lists {
		known = append(known, l.Name)
	}
	for _, route := range c.Choices() {
		c.checkKnown(route.Name, keyPrefixes, route.Prefixes, known, "unknown list", "add it to lists")
	}
}

// checkKnown reports names in a list of a route's that are not among the known ones. add
// says what is wanted where there are none.
func (c *builder) checkKnown(route, key string, names, known []string, why, add string) {
	for _, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		want := add
		if len(known) > 0 {
			want = problem.DidYouMean(name, known)
		}
		c.problemAt(c.positions[nameKey(route, key, name)], "routes."+route+"."+key, name, why, want)
	}
}
