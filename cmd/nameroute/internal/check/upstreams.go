package check

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/plugin/upstream/address"
)

// checkUpstreams checks that every block has a resolver which can be reached by its route:
// that there is one at all, that it is not this box, and not in a network beside the route.
func checkUpstreams(cfg *gateway.Config, core *corefile.File, r *report) {
	if core == nil {
		return
	}
	nets, err := connectedNetworks()
	if err != nil {
		r.unknown("addresses of this box: %v: not checked is whether a resolver is this box, or in a network beside its route", err)
		return
	}
	states, _ := policy.Routes(cfg) // without them, links of a next hop are not known
	c := upstreamCheck{cfg: cfg, nets: nets, listeners: listenersOf(core), states: states, r: r}
	for _, b := range core.Blocks {
		if u := b.Upstream; u != nil && u.Config == "" {
			c.upstream(u)
		}
		for _, d := range b.Directives {
			if d.Name == "forward" && len(d.Args) > 0 {
				c.forward(d)
			}
		}
	}
	for _, a := range cfg.WANResolvers {
		if why := c.loop(a); why != "" {
			r.wrong(exit.Host, fmt.Errorf("%s: wan_resolvers: %s %s", cfg.File, a, why))
		}
	}
}

type upstreamCheck struct {
	cfg       *gateway.Config
	nets      []connected
	listeners []firewall.Listener
	states    map[string]policy.RouteState // of the routes, as far as they can be read
	r         *report
	reported  []string
}

// upstream checks the resolvers of an upstream directive.
func (c *upstreamCheck) upstream(u *corefile.Upstream) {
	route, ok := c.cfg.Route(u.Route)
	if !ok {
		return // reported by checkCorefile
	}
	at := fmt.Sprintf("%s:%d: upstream %s", u.File, u.Line, u.Route)
	var addrs []netip.AddrPort
	var named []string
	for _, text := range u.Addresses {
		a, err := address.Parse(text)
		switch {
		case err != nil: // dhcp; what is wrong is reported by checkCorefile
		case a.Host != "":
			named = append(named, a.Host)
		default:
			addrs = append(addrs, a.Addr)
		}
	}
	conf, confErr := (*provider.Conf)(nil), error(nil)
	if route.Egress.Kind == gateway.EgressWireGuard {
		conf, confErr = provider.Load(route.Egress.File)
	}
	if len(u.Addresses) == 0 || slices.Contains(u.Addresses, corefile.HandedOut) {
		own, from, good := c.own(at, u, route, conf)
		if !good || confErr != nil {
			return // reported, by checkProviders too
		}
		if addrs = append(addrs, own...); len(u.Addresses) == 0 && from != "" {
			at = fmt.Sprintf("route %s: %s", route.Name, from)
		}
	}
	for _, a := range addrs {
		c.address(at, route, a)
	}
	c.named(at, u, route, named)
	if conf != nil && len(named) == 0 {
		c.families(at, conf, addrs)
	}
}

// own returns the resolvers that a route has without any address in the Corefile, and where
// they are from; good is false where that is reported as wrong or unknown.
func (c *upstreamCheck) own(at string, u *corefile.Upstream, route gateway.Route, conf *provider.Conf) (own []netip.AddrPort, from string, good bool) {
	if route.Egress.Kind == gateway.EgressWireGuard {
		switch {
		case len(u.Addresses) > 0:
			c.wrong("%s: dhcp: a WireGuard tunnel is given no resolvers by DHCP: remove the word; without any address those of `DNS =` in %s are used", at, route.Egress.File)
			return nil, "", false
		case conf == nil:
			return nil, "", true
		case len(conf.Resolvers()) == 0:
			c.wrong("%s: %s has no `DNS =`: names of this block get SERVFAIL: add it, or write addresses after `upstream %s`", at, route.Egress.File, u.Route)
			return nil, "", false
		}
		return conf.Resolvers(), route.Egress.File + ": DNS", true
	}
	if route.Group != nil {
		if len(u.Addresses) == 0 {
			c.membersResolvers(at, route)
		}
		return nil, "", true // of the members in force, which change
	}
	found, err := resolvers.Of(c.cfg, route, c.states[route.Name])
	if len(u.Addresses) > 0 {
		if err == nil && len(found.Handed) == 0 {
			err = fmt.Errorf("%s was given none by DHCP, PPP or router advertisements", strings.Join(found.Links, ", "))
		}
		found.Servers = found.Handed
	}
	switch {
	case err == nil:
		return found.Servers, "", true
	case len(found.Servers) > 0:
		return found.Servers, "", true
	case len(u.Addresses) > 1: // it has others
		c.r.warn("%s: dhcp: no resolver is known: %v", at, err)
	case !running(found.Links):
		c.r.unknown("%s: no resolver is known yet: %v", at, err)
	case route.Name == gateway.WAN && len(u.Addresses) == 0: // reported by checkResolvers
	default:
		c.wrong("%s: names of this block get SERVFAIL: %v: write addresses after `upstream %s`", at, err, u.Route)
	}
	return nil, "", false
}

// running reports whether one of the links has a carrier: without one it has
// not been given a resolver yet.
func running(links []string) bool {
	return slices.ContainsFunc(links, func(name string) bool {
		l, err := net.InterfaceByName(name)
		return err == nil && l.Flags&net.FlagRunning != 0
	})
}

// address checks one resolver of a route.
func (c *upstreamCheck) address(at string, route gateway.Route, a netip.AddrPort) {
	if why := c.loop(a); why != "" {
		c.wrong("%s: %s %s", at, a.Addr(), why)
		return
	}
	if route.Name == gateway.WAN {
		return
	}
	for _, n := range c.nets {
		if n.prefix.Contains(a.Addr().WithZone("")) && n.link != route.Egress.Link && !a.Addr().IsLinkLocalUnicast() {
			if n.own == a.Addr() || a.Addr().IsLoopback() {
				c.r.warn("%s: %s is this box: what that program queries itself does not take route %s", at, a, route.Name)
				return
			}
			c.wrong("%s: %s is in the network %s of %s, not behind route %s: its queries are dropped by the kill switch: use a resolver that is reached through the route", at, a.Addr(), n.prefix, n.link, route.Name)
			return
		}
	}
}

// families checks that a tunnel carries the family of at least one of its resolvers.
func (c *upstreamCheck) families(at string, conf *provider.Conf, addrs []netip.AddrPort) {
	v4, v6 := conf.Families()
	reached := func(a netip.AddrPort) bool { return a.Addr().Unmap().Is4() && v4 || a.Addr().Unmap().Is6() && v6 }
	if len(addrs) > 0 && (v4 || v6) && !slices.ContainsFunc(addrs, reached) {
		missing := "IPv6"
		if !v4 {
			missing = "IPv4"
		}
		c.wrong("%s: all its resolvers have %s addresses, which %s does not carry: names of this block get SERVFAIL: add a resolver of the other family", at, missing, conf.File)
	}
}

// forward checks the addresses of CoreDNS's forward.
func (c *upstreamCheck) forward(d corefile.Directive) {
	for _, text := range d.Args[1:] {
		if a, err := address.Parse(text); err == nil && a.Host == "" {
			if why := c.loop(a.Addr); why != "" {
				c.wrong("%s:%d: forward: %s %s", d.File, d.Line, a.Addr.Addr(), why)
			}
		}
	}
}

// loop says why queries to an address would come back to a listener of ours, "" where they
// do not.
func (c *upstreamCheck) loop(a netip.AddrPort) string {
	to := a.Addr().Unmap().WithZone("")
	own := to.IsLoopback() || to.IsUnspecified() || slices.ContainsFunc(c.nets, func(n connected) bool { return n.own == to })
	if !own || !slices.ContainsFunc(c.listeners, func(l firewall.Listener) bool {
		return l.Port == a.Port() && (!l.Addr.IsValid() || l.Addr.IsUnspecified() || l.Addr.Unmap() == to)
	}) {
		return ""
	}
	return "is this box, which answers there itself: every query would come back until it fails: name another resolver"
}

// wrong reports each problem once: several blocks may share a resolver.
func (c *upstreamCheck) wrong(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(c.reported, text) {
		c.reported = append(c.reported, text)
		c.r.wrong(exit.Host, fmt.Errorf("%s", text))
	}
}
