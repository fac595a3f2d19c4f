package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/prefixes"
)

// Inputs is what the desired state depends on besides the configuration. Read fills in
// all but Closed, Failing, Silent, Networks and Families.
type Inputs struct {
	Links          []Link                // of the box
	Local          Local                 // what takes precedence over the routes
	Defaults       []KernelRoute         // defaults of table main that are not ours
	NextHops       map[netip.Addr]string // the configured next hops that are directly connected, and on which link
	KernelFamilies []gateway.Family      // that the kernel has; nil: both

	Closed   map[string]string           // routes whose defaults are withdrawn, and the reason
	Failing  map[string]Failing          // routes whose probes fail
	Silent   map[string][]netip.Prefix   // of a route's tunnel: what only peers take that are silent
	Networks map[string][]netip.Prefix   // of a route's tunnel: unmarked packets to them take it, too
	Families map[string][]gateway.Family // families that a route's tunnel carries, of those that its link has addresses of; no entry: all
}

// Failing says of a route that its defaults are withdrawn because its probes fail, and what
// these ask, which can still be reached: else it would never come back.
type Failing struct {
	Reason  string
	Targets []netip.Addr
}

// Supported returns the families that the kernel has.
func (in Inputs) Supported() []gateway.Family {
	if in.KernelFamilies == nil {
		return gateway.Families[:]
	}
	return in.KernelFamilies
}

// Link is a network interface.
type Link struct {
	Name    string
	Index   int
	Up      bool // administratively
	Running bool // and it has a carrier, as far as its driver knows
	Direct  bool // point-to-point or without ARP: a kernel route needs no gateway
	V4, V6  bool // it has an address of the family that is valid beyond the link
	Addrs   []netip.Addr

	networks []netip.Prefix // of its addresses
}

func (in Inputs) link(name string) (Link, bool) {
	i := slices.IndexFunc(in.Links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Link{}, false
	}
	return in.Links[i], true
}

func (in Inputs) carries(route string, l Link, f gateway.Family) bool {
	if fs, ok := in.Families[route]; ok && !slices.Contains(fs, f) {
		return false
	}
	return f == gateway.V4 && l.V4 || f == gateway.V6 && l.V6
}

// Desired returns the state that a configuration asks for. The policy rules and
// unreachable defaults of every route are always part of it, so a route whose egress is
// missing is blocked. A route's table throws what is local back to the policy rules, of
// which the last but one leaves that to table main.
func Desired(cfg *gateway.Config, in Inputs) State {
	s := State{Waiting: map[string]string{}}
	families := in.Supported()
	for _, f := range families {
		s.Rules = append(s.Rules, mainRules(cfg, f)...)
	}
	for _, r := range cfg.AllRoutes() {
		s.addBlocking(r, families)
		s.Rules = append(s.Rules, tunnelRules(cfg, r, in)...)
		defaults, reason := defaults(cfg, r, in)
		if failing, ok := in.Failing[r.Name]; ok && len(defaults) > 0 {
			s.Waiting[r.Name] = failing.Reason
			defaults = failing.only(defaults, in.Local.thrown(egresses(cfg, r)...))
		} else if len(defaults) == 0 {
			s.Waiting[r.Name] = reason
		}
		s.KernelRoutes = append(append(s.KernelRoutes, defaults...), unreachable(r, in.Silent[r.Name])...)
		if r.Name == gateway.WAN {
			continue // its first rule is for all that table main has
		}
		s.addThrown(cfg, r, in)
	}
	for _, r := range cfg.Uplinks(uplinks(cfg, in.Defaults)) {
		s.addBlocking(r, families)
		routes, reason := defaults(cfg, r, in)
		s.KernelRoutes = append(s.KernelRoutes, routes...)
		s.addThrown(cfg, r, in)
		if cfg.WANGroup == nil {
			s.Uplinks = append(s.Uplinks, r.Mark)
		} else if len(routes) == 0 {
			s.Waiting[r.Name] = reason
		}
	}
	s.Sysctls = sysctls(cfg, in, s.KernelRoutes)
	s.Sort()
	return s
}

// addBlocking adds a route's policy rule and the end of its table.
func (s *State) addBlocking(r gateway.Route, families []gateway.Family) {
	for _, f := range families {
		s.Rules = append(s.Rules, Rule{Family: f, Priority: r.Priority, Mark: r.Mark, Table: r.Table, Suppress: -1})
		s.KernelRoutes = append(s.KernelRoutes, KernelRoute{Family: f, Table: r.Table, Metric: gateway.BackstopMetric, Unreachable: true})
	}
}

// egresses are what a route may leave by: a group by its members'.
func egresses(cfg *gateway.Config, r gateway.Route) []gateway.Egress {
	all := []gateway.Egress{r.Egress}
	for _, m := range cfg.Members(r) {
		all = append(all, m.Egress)
	}
	return all
}

func (s *State) addThrown(cfg *gateway.Config, r gateway.Route, in Inputs) {
	for _, p := range in.Local.thrown(egresses(cfg, r)...) {
		s.KernelRoutes = append(s.KernelRoutes, KernelRoute{
			Family: gateway.FamilyOf(p.Addr()), Table: r.Table, Dst: p, Metric: gateway.DefaultMetric, Throw: true,
		})
	}
}

// mainRules are the policy rules about table main.
//
// The WAN's packets take what it has besides a default, then the WAN's table, because the
// default of table main may be that of another VPN: one of a single kernel route, or of
// OpenVPN's halves.
//
// The routes' packets come to table main only with destinations that their tables throw.
// It may have changed since then, so here, too, its defaults do not count. And they are
// never left to what comes after: a table that another program has flushed must not let
// them out by table main's default.
func mainRules(cfg *gateway.Config, f gateway.Family) []Rule {
	ours, last := gateway.Mark{Mask: uint32(cfg.Mask)}, cfg.LastRoutePriority()
	return []Rule{
		{Family: f, Priority: cfg.Priority, Mark: cfg.WANRoute().Mark, Table: unix.RT_TABLE_MAIN, Suppress: gateway.Suppressed(f)},
		{Family: f, Priority: last + 1, Invert: true, Mark: ours, Table: unix.RT_TABLE_MAIN, Suppress: gateway.Suppressed(f)},
		{Family: f, Priority: last + 2, Invert: true, Mark: ours, Unreachable: true, Suppress: -1},
	}
}

// tunnelRules send packets to a tunnel's own networks into the tunnel, in place of kernel
// routes in table main, which comes first: a link that has just got its address may be asked
// for a gateway before the route's table throws its network. A network that is implausibly
// large would take what is on no list there, too.
func tunnelRules(cfg *gateway.Config, r gateway.Route, in Inputs) (rules []Rule) {
	var networks []netip.Prefix
	for _, p := range in.Networks[r.Name] {
		p = p.Masked()
		plausible := gateway.IsSpecialPrefix(p) || implausible(p, false) == ""
		if plausible && !p.IsSingleIP() && slices.Contains(in.Supported(), gateway.FamilyOf(p.Addr())) {
			networks = append(networks, p)
		}
	}
	for _, p := range prefixes.Outermost(networks) {
		f, unmarked := gateway.FamilyOf(p.Addr()), gateway.Mark{Mask: uint32(cfg.Mask)}
		rules = append(rules,
			Rule{Family: f, Priority: cfg.Priority, Dst: p, Mark: unmarked, Table: unix.RT_TABLE_MAIN, Suppress: gateway.Suppressed(f)},
			Rule{Family: f, Priority: r.Priority, Dst: p, Mark: unmarked, Table: r.Table, Suppress: -1})
	}
	return rules
}

const noMember = "none of its members can be used"

// defaults returns the default kernel routes of one route, or the reason why it has none.
func defaults(cfg *gateway.Config, r gateway.Route, in Inputs) (routes []KernelRoute, reason string) {
	if reason, closed := in.Closed[r.Name]; closed {
		return nil, reason
	}
	switch r.Egress.Kind {
	case gateway.EgressWAN:
		if reason = noMember; r.Group == nil {
			routes, reason = wanDefaults(cfg, in)
		}
	case gateway.EgressNextHop:
		routes, reason = nextHopDefaults(r, in)
	case gateway.EgressGroup: // package members adds them
		reason = noMember
	default:
		routes, reason = linkDefaults(r, in)
	}
	for i := range routes {
		routes[i].Table = r.Table
	}
	return routes, reason
}

// only returns the kernel routes of a route's defaults to what its probes ask. What is local
// is none of the route's.
func (f Failing) only(defaults []KernelRoute, local []netip.Prefix) (routes []KernelRoute) {
	for _, a := range f.Targets {
		for _, d := range defaults {
			d.Dst = netip.PrefixFrom(a.WithZone(""), a.BitLen())
			if gateway.FamilyOf(a) == d.Family && !slices.Contains(local, d.Dst) {
				routes = append(routes, d)
			}
		}
	}
	return routes
}

// unreachable returns the kernel routes that refuse packets to prefixes of a route. One to all
// addresses would be the end of the table, which it has already.
func unreachable(r gateway.Route, silent []netip.Prefix) (routes []KernelRoute) {
	for _, p := range silent {
		parts := []netip.Prefix{p}
		if p.Bits() == 0 {
			both := prefixes.Bisect(p)
			parts = both[:]
		}
		for _, part := range parts {
			routes = append(routes, KernelRoute{Family: gateway.FamilyOf(p.Addr()), Table: r.Table, Dst: part, Metric: gateway.DefaultMetric, Unreachable: true})
		}
	}
	return routes
}

// linkDefaults returns the defaults of a route to an interface: via the gateway that
// table main has there, else on-link where the interface needs no gateway.
func linkDefaults(r gateway.Route, in Inputs) (routes []KernelRoute, reason string) {
	name := r.Egress.Link
	l, ok := in.link(name)
	ours := r.Egress.Kind == gateway.EgressWireGuard
	switch {
	case !ok:
		return nil, fmt.Sprintf("interface %s: does not exist", name)
	case !l.Up:
		return nil, fmt.Sprintf("interface %s: down", name)
	case !l.Running && !ours: // an embedded tunnel loses its carrier while another process adopts it
		return nil, fmt.Sprintf("interface %s: no carrier", name)
	}
	for _, f := range gateway.Families {
		d, ok := bestVia(in.Defaults, f, name)
		switch {
		case ok && !ours:
			d.Metric = gateway.DefaultMetric
			routes = append(routes, d)
		case l.Direct && in.carries(r.Name, l, f):
			routes = append(routes, KernelRoute{
				Family: f, Metric: gateway.DefaultMetric,
				Hops: []Hop{{Link: l.Name, Index: l.Index, Weight: 1}},
			})
		}
	}
	if len(routes) == 0 && !l.Direct {
		reason = fmt.Sprintf("interface %s: table main has no default route via it, and it is not point-to-point: set next_hop", name)
	} else if len(routes) == 0 {
		reason = fmt.Sprintf("interface %s: no address", name)
	}
	return routes, reason
}

// bestVia returns the default of table main via one link that the kernel prefers.
func bestVia(defaults []KernelRoute, f gateway.Family, link string) (KernelRoute, bool) {
	var best KernelRoute
	for _, d := range onLinks(defaults, func(name string) bool { return name == link }) {
		if d.Family == f && (best.Hops == nil || d.Metric < best.Metric) {
			best = d
		}
	}
	return best, best.Hops != nil
}

func nextHopDefaults(r gateway.Route, in Inputs) (routes []KernelRoute, reason string) {
	var missing []string
	for _, hop := range r.Egress.NextHops {
		name, ok := in.NextHops[hop]
		if !ok {
			missing = append(missing, hop.String())
			continue
		}
		l, _ := in.link(name)
		if !l.Up || !l.Running {
			reason = fmt.Sprintf("interface %s: down", name)
			continue
		}
		routes = append(routes, KernelRoute{
			Family: gateway.FamilyOf(hop), Metric: gateway.DefaultMetric,
			Hops: []Hop{{Via: hop, Link: l.Name, Index: l.Index, Weight: 1}},
		})
	}
	if len(missing) > 0 {
		reason = fmt.Sprintf("next hop %s: not directly connected", strings.Join(missing, ", "))
	}
	return routes, reason
}
