package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// check checks what depends on more than one key, and derives the marks, tables and
// priorities of routes that have none.
func (c *builder) check() {
	c.checkLifetime()
	c.checkLinks()
	c.checkGroups()
	c.checkSources()
	c.checkPrefixes()
	c.checkClients()
	c.checkDefault()
	c.checkRedirect()
	if c.numberRoutes() {
		c.checkTables()
		c.checkPriorities()
		c.checkUplinks()
	}
	c.notes.Sort()
	c.Notes = c.notes
}

func (c *builder) checkLifetime() {
	l := c.Lifetime
	shown := func(key string, d time.Duration) string {
		if c.positions.Has("lifetime." + key) {
			return shortDuration(d)
		}
		return shortDuration(d) + " (the default)"
	}
	above := func(key string, d time.Duration, why string) {
		why = shown(key, d) + " is " + why + " the ceiling of " + shown("ceiling", l.Ceiling)
		c.problem("lifetime."+key, "", why, "")
	}
	if l.Floor > l.Ceiling {
		above("floor", l.Floor, "above")
	}
	if l.Grace >= l.Ceiling {
		above("grace", l.Grace, "not below")
	}
}

// checkLinks refuses one interface in two roles: packets that come in by an egress are
// not classified, and clients behind it would have no routes at all.
func (c *builder) checkLinks() {
	if c.WANLink != "" && slices.Contains(c.LAN, c.WANLink) {
		c.problem("wan", c.WANLink, "is also in lan", "")
	}
	for i, route := range c.Routes {
		link, key := route.Egress.Link, c.linkKey(route)
		if link == "" {
			continue
		}
		switch {
		case link == "lo":
			c.problem(key, link, "is the loopback interface", "")
		case slices.Contains(c.LAN, link):
			c.problem(key, link, "is also in lan", "")
		case link == c.WANLink && route.Egress.Kind != gateway.EgressNextHop:
			c.problem(key, link, "is also the WAN", "want next_hop: for another router on its network; names for the WAN need no route")
		}
		for _, other := range c.Routes[:i] {
			if c.sharesEgress(key, route, other) {
				break
			}
		}
	}
}

// sharesEgress reports a problem if two routes have the same egress. Only next hops may
// share their interface.
func (c *builder) sharesEgress(key string, a, b gateway.Route) bool {
	hops := a.Egress.Kind == gateway.EgressNextHop && b.Egress.Kind == gateway.EgressNextHop
	switch {
	case a.Egress.File != "" && a.Egress.File == b.Egress.File:
		c.problem("routes."+a.Name+"."+keyWireGuard, a.Egress.File, "is also the file of "+c.describe(b.Name),
			"want a file with a key of its own")
		return true
	case a.Egress.Link == b.Egress.Link && !hops:
		want := ""
		if a.Egress.Kind == gateway.EgressWireGuard {
			want = "want another name in link:"
		}
		c.problem(key, a.Egress.Link, "is also the interface of "+c.describe(b.Name), want)
		return true
	}
	return false
}

// linkKey returns the key that names a route's interface.
func (c *builder) linkKey(route gateway.Route) string {
	key := "routes." + route.Name
	for _, k := range []string{"link", keyWireGuard, keyInterface} {
		if c.positions.Has(key + "." + k) {
			return key + "." + k
		}
	}
	return key
}

// describe names a route and its line, for a problem with another one.
func (c *builder) describe(name string) string {
	if name == gateway.WAN {
		return "wan"
	}
	return fmt.Sprintf("route %s on line %d", name, c.positions.Find("routes."+name).Line)
}

// numberRoutes gives each route its number and its mark. It reports false if a number is
// wrong: what is derived from it is not worth checking then.
func (c *builder) numberRoutes() bool {
	if c.wrong("mask") {
		return false
	}
	before := len(c.problems)
	owner := map[int]string{c.Mask.Max(): gateway.WAN}
	var unnumbered []*gateway.Route
	for i := range c.Routes {
		route := &c.Routes[i]
		if !c.numberRoute(route) {
			continue
		}
		if _, taken := owner[route.Number]; taken {
			unnumbered = append(unnumbered, route)
			continue
		}
		owner[route.Number] = route.Name
	}
	for _, route := range unnumbered {
		key := "routes." + route.Name + ".mark"
		why := "is also the mark of " + c.describe(owner[route.Number])
		if !c.positions.Has(key) {
			why += ", as derived from the name"
		}
		want := "want a wider mask: all marks are taken"
		if n := freeNumber(owner, route.Number, c.Mask.Max()); n > 0 {
			owner[n] = route.Name
			want = fmt.Sprintf("want for example %#x", c.Mask.Mark(n).Value)
		}
		c.problem(key, fmt.Sprintf("%#x", route.Mark.Value), why, want)
	}
	return len(c.problems) == before
}

// numberRoute numbers one route by its mark, or by its name where it has none.
func (c *builder) numberRoute(route *gateway.Route) bool {
	key := "routes." + route.Name + ".mark"
	value := route.Mark.Value
	switch {
	case c.wrong(key):
		return false
	case value == 0:
		route.Number = gateway.HashNumber(route.Name, c.Mask)
	case value&^uint32(c.Mask) != 0:
		c.problem(key, fmt.Sprintf("%#x", value), fmt.Sprintf("has bits outside the mask %#x", uint32(c.Mask)),
			fmt.Sprintf("want for example %#x", c.Mask.Mark(gateway.HashNumber(route.Name, c.Mask)).Value))
		return false
	default:
		route.Number = c.Mask.Number(value)
	}
	route.Mark = c.Mask.Mark(route.Number)
	return true
}

// freeNumber returns the next number after n that no route has, or 0.
func freeNumber(owner map[int]string, n, highest int) int {
	for i := range highest - 1 {
		free := 1 + (n+i)%(highest-1)
		if _, taken := owner[free]; !taken {
			return free
		}
	}
	return 0
}

func (c *builder) checkTables() {
	owner := map[int]string{c.WANRoute().Table: gateway.WAN}
	if c.WANGroup != nil { // of what the box sends by itself
		owner[gateway.DefaultTable] = gateway.WAN
	}
	for i := range c.Routes {
		route := &c.Routes[i]
		if route.Table == 0 {
			route.Table = gateway.DefaultTable + route.Number
		}
		c.checkUnique(owner, "table", route.Name, route.Table)
	}
}

// checkPriorities requires every route's policy rule to come after the first one, which is
// the WAN's for table main, and before the two that leave local networks to table main.
func (c *builder) checkPriorities() {
	wan := c.WANRoute().Priority
	if wan > lastPriority {
		c.problem("priority", fmt.Sprint(c.Priority), "leaves no room for the policy rules of routes",
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
			c.problem("routes."+route.Name+".priority", fmt.Sprint(route.Priority),
				"not after the first policy rule", fmt.Sprintf("want %d to %d", c.Priority+1, lastPriority))
			continue
		}
		c.checkUnique(owner, "priority", route.Name, route.Priority)
	}
}

// checkUnique reports a number of a route that another route has too.
func (c *builder) checkUnique(owner map[int]string, what, route string, n int) {
	key := "routes." + route + "." + what
	first, taken := owner[n]
	if !taken {
		owner[n] = route
		return
	}
	why := fmt.Sprintf("is also the %s of %s", what, c.describe(first))
	if !c.positions.Has(key) {
		why += ", as derived from the mark"
	}
	c.problem(key, fmt.Sprint(n), why, "want another "+what)
}
