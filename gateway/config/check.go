package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// check does what needs more than one key, and fills in what a route has by its name.
func (c *builder) check(r *reader) {
	c.checkLifetime(r)
	c.checkLinks(r)
	c.checkSources(r)
	c.checkPrefixes(r)
	c.checkRedirect(r)
	if c.numberRoutes(r) {
		c.checkTables(r)
		c.checkPriorities(r)
	}
	r.notes.Sort()
	c.Notes = r.notes
}

func (c *builder) checkLifetime(r *reader) {
	l := c.Lifetime
	shown := func(key string, d time.Duration) string {
		if r.positions.Has("lifetime." + key) {
			return shortDuration(d)
		}
		return shortDuration(d) + " (the default)"
	}
	above := func(key string, d time.Duration, why string) {
		why = shown(key, d) + " is " + why + " the ceiling of " + shown("ceiling", l.Ceiling)
		r.problem("lifetime."+key, "", why, "")
	}
	if l.Floor > l.Ceiling {
		above("floor", l.Floor, "above")
	}
	if l.Grace >= l.Ceiling {
		above("grace", l.Grace, "not below")
	}
}

// checkLinks refuses one interface in two roles: what comes in by an egress is
// never classified, so that clients behind it would have no routes at all.
func (c *builder) checkLinks(r *reader) {
	if c.WANLink != "" && slices.Contains(c.LAN, c.WANLink) {
		r.problem("wan", c.WANLink, "is in lan too", "")
	}
	for i, route := range c.Routes {
		link, key := route.Egress.Link, linkKey(r, route)
		if link == "" {
			continue
		}
		switch {
		case link == "lo":
			r.problem(key, link, "is the loopback interface", "")
		case slices.Contains(c.LAN, link):
			r.problem(key, link, "is in lan too", "")
		case link == c.WANLink && route.Egress.Kind != gateway.EgressNextHop:
			r.problem(key, link, "is the wan", "")
		}
		for _, other := range c.Routes[:i] {
			if sharedEgress(r, key, route, other) {
				break
			}
		}
	}
}

// sharedEgress reports two routes with one egress. Only next hops may share their
// interface.
func sharedEgress(r *reader, key string, a, b gateway.Route) bool {
	hops := a.Egress.Kind == gateway.EgressNextHop && b.Egress.Kind == gateway.EgressNextHop
	switch {
	case a.Egress.File != "" && a.Egress.File == b.Egress.File:
		r.problem("routes."+a.Name+"."+keyWireGuard, a.Egress.File, "is the file of "+describe(r, b.Name)+" too",
			"one key cannot make two tunnels")
		return true
	case a.Egress.Link == b.Egress.Link && !hops:
		want := ""
		if a.Egress.Kind == gateway.EgressWireGuard {
			want = "set link: to another name"
		}
		r.problem(key, a.Egress.Link, "is the interface of "+describe(r, b.Name)+" too", want)
		return true
	}
	return false
}

func linkKey(r *reader, route gateway.Route) string {
	key := "routes." + route.Name
	for _, k := range []string{"link", keyWireGuard, keyInterface} {
		if r.positions.Has(key + "." + k) {
			return key + "." + k
		}
	}
	return key
}

// describe names another route and where it stands.
func describe(r *reader, name string) string {
	if name == gateway.WAN {
		return "wan"
	}
	return fmt.Sprintf("route %s on line %d", name, r.positions.Find("routes."+name).Line)
}

// numberRoutes gives each route its number and its mark. It reports false where
// numbers were wrong, so that what is derived from them is not worth a look.
func (c *builder) numberRoutes(r *reader) bool {
	if r.wrong("mask") {
		return false
	}
	before := len(r.problems)
	owner := map[int]string{c.Mask.Max(): gateway.WAN}
	var homeless []*gateway.Route
	for i := range c.Routes {
		route := &c.Routes[i]
		if !c.numberRoute(r, route) {
			continue
		}
		if _, taken := owner[route.Number]; taken {
			homeless = append(homeless, route)
			continue
		}
		owner[route.Number] = route.Name
	}
	for _, route := range homeless {
		key := "routes." + route.Name + ".mark"
		why := fmt.Sprintf("is the mark of %s too", describe(r, owner[route.Number]))
		if !r.positions.Has(key) {
			why += ", by the hash of the name"
		}
		want := "no mark is free: widen mask"
		if n := freeNumber(owner, route.Number, c.Mask.Max()); n > 0 {
			owner[n] = route.Name
			want = fmt.Sprintf("set mark: %#x", c.Mask.Mark(n).Value)
		}
		r.problem(key, fmt.Sprintf("%#x", route.Mark.Value), why, want)
	}
	return len(r.problems) == before
}

// numberRoute does it for one route. A mark that was given says the number.
func (c *builder) numberRoute(r *reader, route *gateway.Route) bool {
	key := "routes." + route.Name + ".mark"
	value := route.Mark.Value
	switch {
	case r.wrong(key):
		return false
	case value == 0:
		route.Number = gateway.HashNumber(route.Name, c.Mask)
	case value&^uint32(c.Mask) != 0:
		r.problem(key, fmt.Sprintf("%#x", value), fmt.Sprintf("has bits outside the mask %#x", uint32(c.Mask)),
			fmt.Sprintf("want for example %#x", c.Mask.Mark(gateway.HashNumber(route.Name, c.Mask)).Value))
		return false
	default:
		route.Number = c.Mask.Number(value)
	}
	route.Mark = c.Mask.Mark(route.Number)
	return true
}

// freeNumber is the next number after n that nobody has, or 0.
func freeNumber(owner map[int]string, n, highest int) int {
	for i := range highest - 1 {
		free := 1 + (n+i)%(highest-1)
		if _, taken := owner[free]; !taken {
			return free
		}
	}
	return 0
}

func (c *builder) checkTables(r *reader) {
	owner := map[int]string{c.WANRoute().Table: gateway.WAN}
	for i := range c.Routes {
		route := &c.Routes[i]
		if route.Table == 0 {
			route.Table = gateway.DefaultTable + route.Number
		}
		r.alone(owner, "table", route.Name, route.Table)
	}
}

// checkPriorities keeps every route's policy rule behind the one that keeps local
// networks local, and before that of table main.
func (c *builder) checkPriorities(r *reader) {
	wan := c.WANRoute().Priority
	if wan > lastPriority {
		r.problem("priority", fmt.Sprint(c.Priority), "leaves no room for the routes' rules",
			fmt.Sprintf("want at most %d", lastPriority-c.Mask.Max()))
		return
	}
	owner := map[int]string{wan: gateway.WAN}
	for i := range c.Routes {
		route := &c.Routes[i]
		if route.Priority == 0 {
			route.Priority = c.Priority + route.Number
		}
		if route.Priority <= c.Priority {
			r.problem("routes."+route.Name+".priority", fmt.Sprint(route.Priority),
				"not behind the first policy rule", fmt.Sprintf("want %d to %d", c.Priority+1, lastPriority))
			continue
		}
		r.alone(owner, "priority", route.Name, route.Priority)
	}
}

// alone reports a number of a route that another route has already.
func (r *reader) alone(owner map[int]string, what, route string, n int) {
	key := "routes." + route + "." + what
	first, taken := owner[n]
	if !taken {
		owner[n] = route
		return
	}
	why := fmt.Sprintf("is the %s of %s too", what, describe(r, first))
	if !r.positions.Has(key) {
		why += ", by the route's mark"
	}
	r.problem(key, fmt.Sprint(n), why, "set "+what+": to another")
}
