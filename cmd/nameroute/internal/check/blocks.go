package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// answering are the directives whose plugins can answer a query.
var answering = append([]string{"upstream", "file", "auto", "hosts", "template", "leases", "home", "erratic", "whoami", "local", "chaos", "any", "dynupdate"}, corefile.Fetching()...)

// checkServing checks that each block of a valid Corefile can be queried and can answer.
func checkServing(core *corefile.File, r *report) {
	if core == nil {
		return
	}
	if notes, err := instance.CheckBlocks(core); err == nil {
		for _, n := range notes {
			r.warn("%s: %s", core.Name, n)
		}
	}
	for _, b := range core.Blocks {
		at := fmt.Sprintf("%s:%d", b.File, b.Line)
		for _, z := range b.Zones {
			if _, err := strconv.ParseUint(z.Port, 10, 16); err != nil {
				r.wrong(exit.Corefile, fmt.Errorf("%s: %s: port %s: want 1 to 65535", at, strings.Join(b.Keys, " "), z.Port))
				break
			}
		}
		if !slices.ContainsFunc(b.Directives, func(d corefile.Directive) bool { return slices.Contains(answering, d.Name) }) {
			to := gateway.WAN
			if b.Route != nil {
				to = b.Route.Name
			}
			r.warn("%s: %s: nothing in the block answers, so all its names get REFUSED: add `upstream %s`", at, strings.Join(b.Keys, " "), to)
		}
		checkBind(at, b.Hosts, r)
	}
}

// checkBind checks that what bind names is there.
func checkBind(at string, hosts []string, r *report) {
	all, err := readLinks()
	nets, err2 := connectedNetworks()
	if err != nil || err2 != nil {
		return // reported by checkLinks and checkUpstreams
	}
	for _, host := range hosts {
		a, err := netip.ParseAddr(host)
		switch {
		case host == "":
		case err != nil:
			if all.find(host) == nil {
				r.warn("%s: bind: %s (no query is answered there until it does)", at, all.missing(host))
			}
		case a.IsUnspecified() || a.IsLoopback():
		case !slices.ContainsFunc(nets, func(n connected) bool { return n.own == a.WithZone("") }):
			r.warn("%s: bind: %s is no address of this box: no query is answered there until it is", at, a)
		}
	}
}

// checkNextHops checks that next hops are neighbours.
func checkNextHops(cfg *gateway.Config, r *report) {
	var gateways []netip.Addr
	defaults, _ := policy.WANDefaults(cfg) // checkWAN reports the error
	for _, d := range defaults {
		for _, h := range d.Hops {
			gateways = append(gateways, h.Via)
		}
	}
	for _, route := range cfg.Routes {
		for _, hop := range route.Egress.NextHops {
			if slices.Contains(gateways, hop) {
				r.warn("route %s: next hop %s is the WAN's own gateway: what takes the route leaves as everything else", route.Name, hop)
			}
			if hop.Is6() && hop.IsLinkLocalUnicast() {
				continue // its interface is checked by checkLinks
			}
			routes, err := netlink.RouteGetWithOptions(hop.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
			direct := err == nil && slices.ContainsFunc(routes, func(k netlink.Route) bool { return k.Gw == nil && k.Via == nil })
			if !direct {
				r.warn("route %s: next hop %s is in no network of this box: the route is down until it is: ip route get %s", route.Name, hop, hop)
			}
		}
	}
}

// checkGateways finds interfaces of routes that need a router and know of none.
func checkGateways(cfg *gateway.Config, all links, r *report) {
	bare := *cfg // of which every default of table main is the WAN
	bare.Routes, bare.WANLink, bare.WANGroup, bare.WANUplinks = nil, "", nil, nil
	defaults, err := policy.WANDefaults(&bare)
	if err != nil {
		return // reported by checkWAN
	}
	for _, route := range cfg.Routes {
		l := all.find(route.Egress.Link)
		if route.Egress.Kind != gateway.EgressInterface || l == nil || l.Attrs().RawFlags&(unix.IFF_POINTOPOINT|unix.IFF_NOARP) != 0 {
			continue
		}
		if !slices.Contains(policy.LinksOf(defaults), route.Egress.Link) {
			r.warn("route %s: table main has no default route via %s, and it is not point-to-point: the route is down until it has one: write next_hop: with the address of the router there", route.Name, route.Egress.Link)
		}
	}
}
