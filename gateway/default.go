package gateway

// Default names the routes of what no list and no prefix names (`default:`); "" is the WAN, by
// whatever table main has.
type Default struct {
	Clients string // of packets that come in by any interface but the WAN's and the routes'
	Box     string // of the box's own
}

// WANTakes says that names, addresses and prefixes can be listed for the WAN as for a route
// (`routes.wan`).
type WANTakes struct {
	Prefixes []string // lists whose addresses and prefixes take the WAN
	Place    int      // its place among Routes
}

// ClientsDefault returns the route of what clients send to destinations that nothing names;
// ok is false where that is the WAN.
func (c *Config) ClientsDefault() (r Route, ok bool) { return c.defaultRoute(c.Default.Clients) }

// BoxDefault returns the route of what the box itself sends to such destinations; ok is false
// where that is the WAN.
func (c *Config) BoxDefault() (r Route, ok bool) { return c.defaultRoute(c.Default.Box) }

func (c *Config) defaultRoute(name string) (Route, bool) {
	if name == "" {
		return Route{}, false
	}
	return c.Route(name)
}

// Choices returns the routes that have sets, in the order in which they take a destination:
// Routes, and the WAN where something can be listed for it.
func (c *Config) Choices() []Route {
	if c.WANTakes == nil {
		return c.Routes
	}
	at := min(c.WANTakes.Place, len(c.Routes))
	all := append(make([]Route, 0, len(c.Routes)+1), c.Routes[:at]...)
	return append(append(all, c.WANRoute()), c.Routes[at:]...)
}

// DefaultOf returns whose default a route is: of clients, of the box, or of both.
func (c *Config) DefaultOf(route string) (whose []string) {
	if r, ok := c.ClientsDefault(); ok && r.Name == route {
		whose = append(whose, "clients")
	}
	if r, ok := c.BoxDefault(); ok && r.Name == route {
		whose = append(whose, "box")
	}
	return whose
}
