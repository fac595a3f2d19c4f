package config

import (
	"slices"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// allowedIPs is written in place of a list for the AllowedIPs of a tunnel's peers.
const allowedIPs = "allowed_ips"

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
		case slices.Contains(rr.Prefixes, name):
			item.problem("duplicate", "")
		default:
			rr.Prefixes = append(rr.Prefixes, name)
			rr.r.positions[prefixKey(rr.Name, name)] = positionOf(item.node)
		}
	}
}

// prefixKey is the key of a list's name in Positions. The keys of the file have no space.
func prefixKey(route, list string) string { return "routes." + route + ".prefixes " + list }

// checkPrefixes reports prefixes of unknown lists.
func (c *builder) checkPrefixes() {
	var known []string
	for _, l := range c.Lists {
		known = append(known, l.Name)
	}
	for _, route := range c.Routes {
		for _, name := range route.Prefixes {
			if slices.Contains(known, name) {
				continue
			}
			want := "add it to lists"
			if len(known) > 0 {
				want = problem.DidYouMean(name, known)
			}
			c.problemAt(c.positions[prefixKey(route.Name, name)], "routes."+route.Name+".prefixes", name, "unknown list", want)
		}
	}
}
