package config

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
	"github.com/nameroute/nameroute/gateway/pkg/yamlnode"
)

// Keys of `default:`, which may also be the name of one route for both.
const (
	keyDefault     = "default"
	keyDefaultBox  = "box"
	wantDefault    = "want the name of a route, or {clients: ROUTE, box: ROUTE}"
	wantDefaultFor = "want the name of a route, or wan"
)

// readDefault reads the routes of what nothing names. The routes may not have been read yet.
func (c *builder) readDefault(v value) {
	if !v.isMapping() {
		name, ok := v.text(wantDefault)
		set(&c.Default.Clients)(name, ok)
		set(&c.Default.Box)(name, ok)
		return
	}
	v.fields(c.defaultFields())
}

func (c *builder) defaultFields() []field {
	read := func(to *string) func(v value) {
		return func(v value) { set(to)(v.text(wantDefaultFor)) }
	}
	return []field{
		{key: keyClients, want: wantDefaultFor, read: read(&c.Default.Clients)},
		{key: keyDefaultBox, want: wantDefaultFor, read: read(&c.Default.Box)},
	}
}

// readWANTakes reads what is listed for the WAN. What it leaves by is not the route's business.
func (c *builder) readWANTakes(v value) {
	rr := &routeReader{r: v.r, key: v.key, Route: gateway.Route{Name: gateway.WAN}}
	v.fields([]field{{key: keyPrefixes, read: rr.readPrefixes}})
	if rr.AllowedIPs {
		v.r.problem(v.key+"."+keyPrefixes, allowedIPs, "the WAN has no peers", "want names of lists")
	}
	c.WANTakes = &gateway.WANTakes{Prefixes: rr.Prefixes, Place: len(c.Routes)}
}

// checkDefault checks the names of the default routes. Names and addresses can be listed for the
// WAN where something else is the default.
func (c *builder) checkDefault() {
	known := []string{gateway.WAN}
	for _, r := range c.Routes {
		known = append(known, r.Name)
	}
	key := keyDefault
	for i, name := range []string{c.Default.Clients, c.Default.Box} {
		if c.positions.Has(keyDefault+"."+keyClients) || c.positions.Has(keyDefault+"."+keyDefaultBox) {
			key = keyDefault + "." + [...]string{keyClients, keyDefaultBox}[i]
		} else if i > 0 {
			break
		}
		if name == "" {
			continue
		}
		at := slices.Index(known, name)
		switch {
		case at < 0:
			c.problem(key, name, "unknown route", problem.DidYouMean(name, known))
		case at > 0 && len(c.Routes[at-1].Clients) > 0:
			c.problem(key, name, "the route is for some clients only", "want one without clients:")
		case at > 0 && c.Routes[at-1].Match != nil:
			c.problem(key, name, "the route takes "+c.Routes[at-1].Match.String()+" only", "want one without match:")
		}
	}
	for _, to := range []*string{&c.Default.Clients, &c.Default.Box} {
		if *to == gateway.WAN {
			*to = ""
		}
	}
	_, clients := c.ClientsDefault()
	_, box := c.BoxDefault()
	if c.WANTakes == nil && (clients || box) {
		c.WANTakes = &gateway.WANTakes{}
	}
}

// defaultNode prints the default routes.
func defaultNode(d gateway.Default) any {
	clients, box := d.Clients, d.Box
	if clients == "" {
		clients = gateway.WAN
	}
	if box == "" {
		box = gateway.WAN
	}
	if clients == box {
		return clients
	}
	return yamlnode.Mapping(keyClients, clients, keyDefaultBox, box)
}
