package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// Inputs is what the wanted state depends on besides the configuration. Look
// fills Links, Defaults and NextHops from the kernel.
type Inputs struct {
	Links    []Link                // every link of the box
	Defaults []KernelRoute         // default kernel routes of table main that are not ours
	NextHops map[netip.Addr]string // the configured next hops that are reached directly, and by which link

	Closed   map[string]string           // routes whose defaults are withdrawn, and why
	Families map[string][]gateway.Family // families that a route's tunnel carries, of those that its link has addresses of; no entry: all
}

// Link is a network interface.
type Link struct {
	Name    string
	Index   int
	Up      bool // administratively
	Running bool // and it has a carrier, as far as its driver knows
	Direct  bool // point-to-point or without ARP: a route needs no gateway
	V4, V6  bool // it has an address of the family that reaches beyond the link
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

// Desired is the state that a configuration asks for. Rules and backstops of
// every route are always part of it, so that a route whose egress is missing is a
// closed door and not an open one.
func Desired(cfg *gateway.Config, in Inputs) State {
	s := State{Waiting: map[string]string{}}
	for _, f := range gateway.Families {
		s.Rules = append(s.Rules, localRule(cfg, f))
	}
	for _, r := range cfg.AllRoutes() {
		for _, f := range gateway.Families {
			s.Rules = append(s.Rules, Rule{Family: f, Priority: r.Priority, Mark: r.Mark, Table: r.Table, Suppress: -1})
			s.KernelRoutes = append(s.KernelRoutes, KernelRoute{Family: f, Table: r.Table, Metric: gateway.BackstopMetric, Unreachable: true})
		}
		defaults, why := defaults(cfg, r, in)
		if len(defaults) == 0 {
			s.Waiting[r.Name] = why
		}
		s.KernelRoutes = append(s.KernelRoutes, defaults...)
	}
	s.Sysctls = sysctls(cfg, in, s.KernelRoutes)
	s.sort()
	return s
}

// localRule keeps local networks local: what table main knows better than by a
// default stays there. It is inverted, so that only packets that carry one of our
// marks are concerned and other people's rules and packets stay untouched. Longer
// prefixes than /0 are hidden too, because OpenVPN's redirect-gateway adds
// half-defaults to table main.
func localRule(cfg *gateway.Config, f gateway.Family) Rule {
	suppress := gateway.SuppressV4
	if f == gateway.V6 {
		suppress = gateway.SuppressV6
	}
	return Rule{
		Family: f, Priority: cfg.Priority, Invert: true, Mark: gateway.Mark{Mask: uint32(cfg.Mask)},
		Table: mainTable, Suppress: suppress,
	}
}

// defaults are the default kernel routes of one route, or why it has none.
func defaults(cfg *gateway.Config, r gateway.Route, in Inputs) (routes []KernelRoute, why string) {
	if why, closed := in.Closed[r.Name]; closed {
		return nil, why
	}
	switch r.Egress.Kind {
	case gateway.EgressWAN:
		routes, why = wanDefaults(cfg, in)
	case gateway.EgressNextHop:
		routes, why = nextHopDefaults(r, in)
	default:
		routes, why = linkDefaults(r, in)
	}
	for i := range routes {
		routes[i].Table = r.Table
	}
	return routes, why
}

// linkDefaults leave by an interface: by the gateway that table main has there,
// else by the link itself where it needs no gateway.
func linkDefaults(r gateway.Route, in Inputs) (routes []KernelRoute, why string) {
	name := r.Egress.Link
	l, ok := in.link(name)
	ours := r.Egress.Kind == gateway.EgressWireGuard
	switch {
	case !ok:
		return nil, fmt.Sprintf("interface %s: not there", name)
	case !l.Up:
		return nil, fmt.Sprintf("interface %s: down", name)
	case !l.Running && !ours: // our own embedded tunnel loses its carrier while it is taken over
		return nil, fmt.Sprintf("interface %s: no carrier", name)
	}
	for _, f := range gateway.Families {
		d, ok := bestBy(in.Defaults, f, name)
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
		why = fmt.Sprintf("interface %s: table main has no default by it, and it is not point-to-point: give next_hop", name)
	} else if len(routes) == 0 {
		why = fmt.Sprintf("interface %s: has no address", name)
	}
	return routes, why
}

// bestBy is the default of table main by one link that the kernel would take first.
func bestBy(defaults []KernelRoute, f gateway.Family, link string) (KernelRoute, bool) {
	var best KernelRoute
	for _, d := range onLinks(defaults, func(name string) bool { return name == link }) {
		if d.Family == f && (best.Hops == nil || d.Metric < best.Metric) {
			best = d
		}
	}
	return best, best.Hops != nil
}

func nextHopDefaults(r gateway.Route, in Inputs) (routes []KernelRoute, why string) {
	var missing []string
	for _, hop := range r.Egress.NextHops {
		name, ok := in.NextHops[hop]
		if !ok {
			missing = append(missing, hop.String())
			continue
		}
		l, _ := in.link(name)
		if !l.Up || !l.Running {
			why = fmt.Sprintf("interface %s: down", name)
			continue
		}
		routes = append(routes, KernelRoute{
			Family: gateway.FamilyOf(hop), Metric: gateway.DefaultMetric,
			Hops: []Hop{{Via: hop, Link: l.Name, Index: l.Index, Weight: 1}},
		})
	}
	if len(missing) > 0 {
		why = fmt.Sprintf("next hop %s: not reached directly by any interface", strings.Join(missing, ", "))
	}
	return routes, why
}
