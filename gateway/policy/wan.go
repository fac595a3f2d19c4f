package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
)

// wanDefaults are the default kernel routes of table main that the WAN is followed
// by, metrics and all: every one that does not leave by an egress of ours, or those
// of the interface that the user names.
func wanDefaults(cfg *gateway.Config, in Inputs) (routes []KernelRoute, why string) {
	if cfg.WANLink != "" {
		routes = onLinks(in.Defaults, func(link string) bool { return link == cfg.WANLink })
		return routes, fmt.Sprintf("interface %s: table main has no default by it", cfg.WANLink)
	}
	egresses := EgressLinks(cfg)
	routes = onLinks(in.Defaults, func(link string) bool { return !slices.Contains(egresses, link) })
	if len(in.Defaults) > 0 {
		return routes, "every default of table main leaves by the interface of a route: give wan: with the name of an interface"
	}
	return routes, "table main has no default"
}

// EgressLinks names the interfaces that belong to a route: WireGuard tunnels and
// interfaces given as such. The link of a next hop is not one, it may well be the
// WAN's or the LAN's.
func EgressLinks(cfg *gateway.Config) []string {
	var names []string
	for _, r := range cfg.Routes {
		if r.Egress.Kind == gateway.EgressWireGuard || r.Egress.Kind == gateway.EgressInterface {
			names = append(names, r.Egress.Link)
		}
	}
	return names
}

// onLinks are the routes by the links that are wanted; a multipath route keeps
// those of its hops.
func onLinks(routes []KernelRoute, want func(link string) bool) []KernelRoute {
	var out []KernelRoute
	for _, r := range routes {
		r.Hops = slices.DeleteFunc(slices.Clone(r.Hops), func(h Hop) bool { return !want(h.Link) })
		if len(r.Hops) > 0 {
			out = append(out, r)
		}
	}
	return canonical(out)
}

// canonical makes of several defaults with one metric a single one, as a table
// holds it. The IPv6 of table main has them beside each other where several
// routers advertise themselves; in the copy they become one multipath route, of
// which the kernel skips hops that are unreachable. IPv4's first one hides the others.
func canonical(routes []KernelRoute) []KernelRoute {
	var out []KernelRoute
	for _, r := range routes {
		i := slices.IndexFunc(out, func(o KernelRoute) bool { return o.key() == r.key() })
		switch {
		case i < 0:
			r.Hops = slices.Clone(r.Hops)
			out = append(out, r)
		case r.Family == gateway.V6:
			out[i].Hops = append(out[i].Hops, r.Hops...)
		}
	}
	for i := range out {
		out[i].Hops = joinable(out[i].Family, out[i].Hops)
		sortHops(out[i].Hops)
	}
	slices.SortFunc(out, func(a, b KernelRoute) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Metric, b.Metric))
	})
	return out
}

// joinable drops hops that the kernel would not take in one multipath route: IPv6
// refuses those without a gateway there, and the same one twice.
func joinable(f gateway.Family, hops []Hop) []Hop {
	if f == gateway.V4 || len(hops) < 2 {
		return hops
	}
	var out []Hop
	for _, h := range hops {
		same := func(o Hop) bool { return o.Via == h.Via && o.Link == h.Link }
		if h.Via.IsValid() && !slices.ContainsFunc(out, same) {
			out = append(out, h)
		}
	}
	if len(out) == 0 {
		return hops[:1]
	}
	return out
}
