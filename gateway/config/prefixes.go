package config

import (
	"slices"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// readPrefixes reads the lists whose prefixes take the route. Which lists there are
// shows when all is read, so each name's place is kept.
func (rr *routeReader) readPrefixes(v value) {
	for _, item := range v.items("want names of lists, such as [chnroute]") {
		name, ok := item.text("want the name of a list")
		switch {
		case !ok:
		case slices.Contains(rr.Prefixes, name):
			item.problem("named twice", "")
		default:
			rr.Prefixes = append(rr.Prefixes, name)
			rr.r.positions[prefixKey(rr.Name, name)] = positionOf(item.node)
		}
	}
}

// prefixKey is where the name of a list stands. No key has a space.
func prefixKey(route, list string) string { return "routes." + route + ".prefixes " + list }

// checkPrefixes looks for the lists that routes take their prefixes from.
func (c *builder) checkPrefixes(r *reader) {
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
			r.problemAt(r.positions[prefixKey(route.Name, name)], "routes."+route.Name+".prefixes", name, "there is no such list", want)
		}
	}
}
