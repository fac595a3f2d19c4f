package check

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
)

// checkLocal says what takes precedence over the routes, and what of it looks like an attack
// or a mistake.
func checkLocal(cfg *gateway.Config, r *report) {
	local, err := policy.LocalNetworks(cfg)
	if err != nil {
		r.unknown("local networks: %v", err)
		return
	}
	var before, others []string
	for _, n := range local.Networks {
		if !n.Prefix.Addr().IsLinkLocalUnicast() {
			before = append(before, n.String())
		}
	}
	r.ok("before all routes: %s", output.OrDash(firstOf(before, 8)))
	for _, n := range local.Others {
		if n.Suspect {
			r.warn("%s is not taken for a local network: %s: addresses in it that lists name take their route. Who runs that network may want your traffic (TunnelCrack), or add it to exclude: in %s", n, n.Because, cfg.File)
			continue
		}
		others = append(others, n.String())
	}
	if len(others) > 0 {
		more := ""
		if local.More > 0 {
			more = " and " + output.Count(local.More, "network") + " more"
		}
		r.ok("in table main, and not local: %s%s: what lists name there takes its route; to keep one out, add it to exclude:", firstOf(others, 8), more)
	}
	if local.TooMany > 0 {
		r.warn("table main has %d networks behind gateways that would be local, too many: only connected networks are: add the others to exclude:", local.TooMany)
	}
	for _, route := range cfg.Routes {
		if route.Egress.Kind != gateway.EgressWireGuard {
			continue
		}
		if conf, err := provider.Load(route.Egress.File); err == nil {
			checkTunnelNetworks(route, conf, local, r)
		}
	}
}

// checkTunnelNetworks finds networks of a tunnel that are local, too.
func checkTunnelNetworks(route gateway.Route, conf *provider.Conf, local policy.Local, r *report) {
	tell := func(key string, p netip.Prefix) {
		for _, n := range local.Networks {
			if n.Prefix.Overlaps(p.Masked()) && !slices.Contains(n.Links, route.Egress.Link) {
				r.warn("route %s: %s: %s = %s overlaps the local network %s, which takes precedence: what is in both is not reached through the tunnel", route.Name, conf.File, key, p, n)
				return
			}
		}
	}
	for _, p := range conf.Addresses {
		if !p.IsSingleIP() {
			tell("Address", p)
		}
	}
	for _, peer := range conf.Peers {
		for _, p := range peer.AllowedIPs {
			// A network of its own, not a part of the internet.
			if gateway.IsSpecialPrefix(p) {
				tell("AllowedIPs", p)
			}
		}
	}
}

// firstOf joins the first of a list and says how many are left.
func firstOf(list []string, most int) string {
	text := strings.Join(list[:min(len(list), most)], ", ")
	if left := len(list) - most; left > 0 {
		text += " and " + output.Count(left, "network") + " more"
	}
	return text
}
