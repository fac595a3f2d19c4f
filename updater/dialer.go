package updater

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// dialTimeout bounds one attempt to connect to one address.
const dialTimeout = 10 * time.Second

// errRouteDown reports that a list's route is down. Nothing is sent then, not even
// where the route's own traffic falls back to the WAN.
var errRouteDown = errors.New("is down")

// dialer connects via one route. Its sockets carry the route's mark from the moment
// they are made, so that the kernel has no other route for them.
type dialer struct {
	route       string
	mark        gateway.Mark
	resolvers   []netip.AddrPort
	resolverErr error // why there are no resolvers
	v4, v6      bool  // families that the route has
	own         []netip.Prefix
	scope       func(netip.Addr) scope // nil: scopeOf; another in tests
}

// scopeOf returns the scope of an address.
func (d dialer) scopeOf(a netip.Addr) scope {
	if d.scope != nil {
		return d.scope(a)
	}
	return scopeOf(a, d.own)
}

// newDialer returns the dialer for a source, as its route is now.
func newDialer(providers *provider.Store, cfg *gateway.Config, s gateway.Source) (dialer, error) {
	r, ok := cfg.Route(s.Via)
	if !ok {
		return dialer{}, fmt.Errorf("unknown route %s", s.Via)
	}
	own, err := ownNetworks()
	if err != nil {
		return dialer{}, err
	}
	d := dialer{route: r.Name, mark: r.Mark, resolvers: s.Resolvers, v4: true, v6: true, own: own}
	if r.Name == gateway.WAN {
		// The WAN's table is not read: before the sidecar has run there is none, and the
		// kernel takes the WAN all the same.
		if len(d.resolvers) == 0 {
			var found resolvers.Found
			found, d.resolverErr = resolvers.Find(cfg)
			d.resolvers = found.Servers
		}
		return d, nil
	}
	// Without its table and policy rules a mark means nothing, and the packet would take
	// the WAN: a route counts as down unless the kernel shows that it is up.
	states, err := policy.Routes(cfg)
	if err != nil {
		return dialer{}, fmt.Errorf("route %s: %w", r.Name, err)
	}
	d.v4, d.v6 = states[r.Name].Default4, states[r.Name].Default6
	if !d.v4 && !d.v6 {
		return dialer{}, fmt.Errorf("route %s %w", r.Name, errRouteDown)
	}
	if len(d.resolvers) == 0 {
		d.resolvers, d.resolverErr = routeResolvers(cfg, r, providers.Load(r), states[r.Name])
	}
	return d, nil
}

// routeResolvers returns the resolvers of a route's provider file, or those that its links
// were given.
func routeResolvers(cfg *gateway.Config, r gateway.Route, file *provider.File, state policy.RouteState) ([]netip.AddrPort, error) {
	switch {
	case file.Conf != nil && len(file.Conf.DNS) > 0:
		return file.Conf.Resolvers(), nil
	case file.Conf == nil && file.Err != nil:
		return nil, file.Err
	case r.Egress.Kind == gateway.EgressInterface || r.Egress.Kind == gateway.EgressNextHop:
		found, err := resolvers.Of(cfg, r, state)
		if err != nil {
			err = fmt.Errorf("%w: want resolvers: for the list", err)
		}
		return found.Servers, err
	}
	return nil, fmt.Errorf("route %s has no resolvers of its own: want resolvers: for the list", r.Name)
}

// DialContext connects to a host, which may be a proxy, via the route and no other.
func (d dialer) DialContext(ctx context.Context, network, hostPort string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	marked := markdial.Dialer(d.mark, dialTimeout)
	var errs []error
	for _, a := range addrs {
		if !d.reaches(a) {
			errs = append(errs, fmt.Errorf("%s: route %s has no IPv%d now", a, d.route, gateway.FamilyOf(a)))
			continue
		}
		if v := visitOf(ctx); !v.isProxied() {
			if err := v.check(host, d.scopeOf(a)); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		conn, err := marked.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// reaches reports whether the route has the address's family.
func (d dialer) reaches(a netip.Addr) bool {
	if gateway.FamilyOf(a) == gateway.V4 {
		return d.v4 || a.IsLoopback()
	}
	return d.v6 || a.IsLoopback()
}

// lookup returns the addresses of a host, IPv6 first. The hosts file and nsswitch are
// not consulted: what answers them is not reached via the route.
func (d dialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if host == "localhost" { // never sent to a resolver (RFC 6761 section 6.3); a proxy may run there
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	if d.resolverErr != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, d.resolverErr)
	}
	return markdial.Client{Servers: d.resolvers, Mark: d.mark}.LookupNetIP(ctx, host)
}
