package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
)

// wanDefaults returns the default kernel routes of table main that the WAN follows, with
// their metrics: all that do not leave by an egress of another route, or those of the
// interfaces that the user names.
func wanDefaults(cfg *gateway.Config, in Inputs) (routes []KernelRoute, reason string) {
	if cfg.WANGroup != nil {
		links := uplinks(cfg, nil)
		return onLinks(in.Defaults, func(link string) bool { return slices.Contains(links, link) }), "table main has no default route via any of its interfaces"
	}
	if cfg.WANLink != "" {
		routes = onLinks(in.Defaults, func(link string) bool { return link == cfg.WANLink })
		return routes, fmt.Sprintf("interface %s: table main has no default route via it", cfg.WANLink)
	}
	routes = in.withCarrier(notOnEgresses(cfg, in.Defaults))
	if len(in.Defaults) > 0 {
		return routes, "every default route of table main leaves by the interface of a route: set wan: to the name of an interface"
	}
	return routes, "table main has no default route"
}

func notOnEgresses(cfg *gateway.Config, routes []KernelRoute) []KernelRoute {
	egresses := EgressLinks(cfg)
	return onLinks(routes, func(link string) bool { return !slices.Contains(egresses, link) })
}

// Uplinks returns the interfaces that are the WAN's, or would be if they had a carrier.
func (in Inputs) Uplinks(cfg *gateway.Config) []string { return uplinks(cfg, in.Defaults) }

// uplinks returns the interfaces that are the WAN's, or would be: with a carrier or without.
func uplinks(cfg *gateway.Config, defaults []KernelRoute) []string {
	var links []string
	for _, u := range cfg.WANUplinks {
		links = append(links, u.Link)
	}
	if cfg.WANLink != "" {
		links = []string{cfg.WANLink}
	}
	if len(links) > 0 {
		return links
	}
	return LinksOf(notOnEgresses(cfg, defaults))
}

// withCarrier drops the defaults of a family by links without a carrier, unless all are:
// the kernel does not, and a dead uplink of a better metric would hide a good one.
func (in Inputs) withCarrier(routes []KernelRoute) (out []KernelRoute) {
	running := func(link string) bool { l, _ := in.link(link); return l.Running }
	for _, f := range gateway.Families {
		all := slices.DeleteFunc(slices.Clone(routes), func(r KernelRoute) bool { return r.Family != f })
		if good := onLinks(all, running); len(good) > 0 {
			all = good
		}
		out = append(out, all...)
	}
	return out
}

// EgressLinks returns the interfaces that belong to a route: WireGuard tunnels and
// interfaces that are named as an egress. The link of a next hop is not one of them, since
// it may be the WAN's or the LAN's.
func EgressLinks(cfg *gateway.Config) []string {
	var names []string
	for _, r := range cfg.Routes {
		if r.Egress.Kind == gateway.EgressWireGuard || r.Egress.Kind == gateway.EgressInterface {
			names = append(names, r.Egress.Link)
		}
	}
	return names
}

// onLinks returns the routes that leave by the wanted links; a multipath route keeps the
// hops that do.
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

// canonical merges defaults of one metric. IPv6 has several of them in table main where
// several routers advertise themselves; the copy is one multipath route, whose
// unreachable hops the kernel skips. Of IPv4's only the first one is in use.
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

// joinable drops hops that the kernel refuses in one multipath route: of IPv6 those
// without a gateway, and duplicates.
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
