// Package gateway holds a gateway's configuration as plain values: routes, marks,
// tables, sets and lists. It reads no file and talks to no kernel; gateway/config
// reads the values from gateway.yaml, and the controllers turn them into kernel state.
package gateway

import (
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// Defaults of gateway.yaml. DESIGN: "Marks, tables, priorities" and guarantee 2.
const (
	DefaultFile          = "/etc/nameroute/gateway.yaml"
	DefaultCorefile      = "/etc/nameroute/Corefile"
	DefaultState         = "/var/lib/nameroute"
	DefaultRun           = "/run/nameroute"
	DefaultMask          = Mask(0x7f000000)
	DefaultPriority      = 7200  // first policy rule; a route's own is this plus its number
	DefaultTable         = 7200  // a route's routing table is this plus its number
	DefaultSetSize       = 65536 // elements a learned set may hold, for each family
	DefaultFloor         = time.Hour
	DefaultGrace         = 10 * time.Minute
	DefaultCeiling       = 24 * time.Hour
	TableName            = "nameroute" // the nft table, family inet
	Protocol             = 110         // rule and route protocol number of all that is ours
	RefusingGroup        = 110         // of the interfaces of tunnels that let no new connections in
	WAN                  = "wan"       // name of the route that always exists
	HandedOut            = "dhcp"      // in place of resolvers: those that the route's link was given
	DefaultCheckInterval = time.Minute
	FallbackMaxTTL       = 10         // seconds; TTL served while a route falls back to the WAN
	BackstopMetric       = 4294967295 // metric of the unreachable default that ends a route's table
	DefaultMetric        = 100        // metric of the default by the egress
	suppressV4           = 1          // suppress_prefixlength of the rules that look up table main:
	suppressV6           = 7          // hides OpenVPN's half-defaults (0/1, 128/1; ::/3, 2000::/4, fc00::/7)
	MaxNameLen           = 32         // bytes in a route's or a list's name
	MaxInterfaceName     = 15         // IFNAMSIZ - 1
)

// Suppressed returns the length of the longest prefix of table main that counts as a default: the
// suppress_prefixlength of the rules that look it up.
func Suppressed(f Family) int {
	if f == V6 {
		return suppressV6
	}
	return suppressV4
}

// Config is a checked gateway.yaml with every default filled in. It is immutable and may
// be shared between goroutines.
type Config struct {
	File          string            // path it was read from, for messages
	LAN           []string          // interfaces whose clients are served
	WANLink       string            // interface of the WAN; "" follows the default route
	WANGroup      *Group            // of several interfaces, which are its members; nil: WANLink
	WANUplinks    []Uplink          // those members, in the same order
	WANNoSNAT     bool              // what leaves by them keeps its source (`snat: off`)
	WANResolvers  []netip.AddrPort  // resolvers reached via the WAN; empty: those of the system
	WANHanded     bool              // of those of the system, only what the WAN's link was given (`wan_resolvers: dhcp`)
	Clients       []Clients         // classes of clients, in the order of the file
	Routes        []Route           // in the order of the file, which is their precedence; without wan
	WANTakes      *WANTakes         // what is listed for the WAN; nil: nothing can be
	Default       Default           // routes of what no list and no prefix names
	Lists         []List            // in the order of the file
	Sources       []Source          // of the lists with url, in the order of the file
	Exclude       []netip.Prefix    // never rerouted, in addition to own, connected and special-use addresses
	Mask          Mask              // the bits of the fwmark that are ours
	Priority      int               // priority of the first policy rule
	SetSize       int               // elements, for each learned set
	Lifetime      Lifetime          // how long a learned address stays
	CheckInterval time.Duration     // how often a running process looks at the host; 0: never
	Owner         Owner             // whether the nft table is owned
	Redirect      Redirect          // of lan clients' queries to other resolvers
	Notes         problem.Problems  // what is allowed and has a consequence, for `check` to show
	Positions     problem.Positions // of each key in the file, for messages
}

// Owner says whether the nft table is created with the owner flag.
type Owner string

// OwnerAuto uses the flags owner and persist where the kernel has both;
// OwnerOff makes an ordinary table that other programs can change.
const (
	OwnerAuto Owner = "auto"
	OwnerOff  Owner = "off"
)

// List is a named file of entries. A list with a Source is fetched into that file.
type List struct {
	Name   string
	File   string // absolute path
	Format string // "" detects it
	Keep   int    // percent of its rules that a changed file must have to be used without a reload; 0: any
}

// Route returns a route by its name, which may be wan.
func (c *Config) Route(name string) (r Route, ok bool) {
	if name == WAN {
		return c.WANRoute(), true
	}
	for _, r := range c.Routes {
		if r.Name == name {
			return r, true
		}
	}
	return Route{}, false
}

// WANRoute returns the route that always exists. Its mark is the mask's highest value: a
// socket that carries it is not pulled into a tunnel by a learned address or a listed
// endpoint.
func (c *Config) WANRoute() Route {
	n := c.Mask.Max()
	r := Route{
		Name: WAN, Number: n, Mark: c.Mask.Mark(n), OnDown: Block,
		Table: DefaultTable + n, Priority: c.Priority + n,
		Egress: Egress{Kind: EgressWAN, Link: c.WANLink}, Group: c.WANGroup,
	}
	if c.WANTakes != nil {
		r.Prefixes = c.WANTakes.Prefixes
	}
	return r
}

// LastRoutePriority returns the priority of the last policy rule of a route. The two rules
// that follow it leave local networks to table main, and nothing else; those behind are of
// packets without a mark (`default:`).
func (c *Config) LastRoutePriority() int {
	last := c.WANRoute().Priority
	for _, r := range c.Routes {
		last = max(last, r.Priority)
	}
	return last
}

// AllRoutes returns the routes in the order of the file, followed by wan.
func (c *Config) AllRoutes() []Route {
	return append(slices.Clone(c.Routes), c.WANRoute())
}

// Members returns the routes that a group consists of, in the order of preference. Those of
// the WAN have the names of their interfaces.
func (c *Config) Members(r Route) []Route {
	switch {
	case r.Group == nil:
		return nil
	case r.Name == WAN:
		return c.Uplinks(nil)
	}
	var members []Route
	for _, m := range r.Group.Members {
		if i := slices.IndexFunc(c.Routes, func(o Route) bool { return o.Name == m.Route }); i >= 0 {
			members = append(members, c.Routes[i])
		}
	}
	return members
}

// List returns a list by its name.
func (c *Config) List(name string) (l List, ok bool) {
	for _, l := range c.Lists {
		if l.Name == name {
			return l, true
		}
	}
	return List{}, false
}
