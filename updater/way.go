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

// dialLimit bounds one try to connect to one address.
const dialLimit = 10 * time.Second

// errDown says that a list's route is down. Nothing is sent then, not even where the
// route's own traffic falls back to the WAN.
var errDown = errors.New("is down")

// way is how a fetch leaves the box. Whatever it opens carries the mark from the
// moment it is made, so that the kernel has no other way for it.
type way struct {
	route     string
	mark      gateway.Mark
	resolvers []netip.AddrPort
	noNames   error // why there are no resolvers
	v4, v6    bool  // families that the route has
}

// wayBy looks up the way of a source as it is now.
func wayBy(providers *provider.Store, cfg *gateway.Config, s gateway.Source) (way, error) {
	r, ok := cfg.Route(s.Via)
	if !ok {
		return way{}, fmt.Errorf("there is no route %s", s.Via)
	}
	w := way{route: r.Name, mark: r.Mark, resolvers: s.Resolvers, v4: true, v6: true}
	if r.Name == gateway.WAN {
		// No look at its table: before the gateway runs there is none, and the kernel
		// takes the WAN all the same.
		if len(w.resolvers) == 0 {
			var found resolvers.Found
			found, w.noNames = resolvers.Find(cfg)
			w.resolvers = found.Servers
		}
		return w, nil
	}
	// Without its table and rules a mark would mean nothing, and the packet take the
	// WAN: what is not shown to be up is down.
	states, err := policy.Routes(cfg)
	if err != nil {
		return way{}, fmt.Errorf("route %s: %w", r.Name, err)
	}
	w.v4, w.v6 = states[r.Name].Default4, states[r.Name].Default6
	if !w.v4 && !w.v6 {
		return way{}, fmt.Errorf("route %s %w", r.Name, errDown)
	}
	if len(w.resolvers) == 0 {
		w.resolvers, w.noNames = own(r, providers.Load(r))
	}
	return w, nil
}

// own are the resolvers that a route brings with it.
func own(r gateway.Route, file *provider.File) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	if file.Conf != nil {
		all = file.Conf.Resolvers()
	} else if file.Err != nil {
		return nil, file.Err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("route %s has no resolvers of its own: give the list `resolvers`", r.Name)
	}
	return all, nil
}

// dial connects to a host, which may be a proxy, by the way and no other.
func (w way) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	addrs, err := w.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	d := markdial.Dialer(w.mark, dialLimit)
	var errs []error
	for _, a := range addrs {
		if v4 := gateway.FamilyOf(a) == gateway.V4; !a.IsLoopback() && (v4 && !w.v4 || !v4 && !w.v6) {
			errs = append(errs, fmt.Errorf("%s: route %s has no IPv%d now", a, w.route, gateway.FamilyOf(a)))
			continue
		}
		conn, err := d.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
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

// lookup finds the addresses of a host, IPv6 first. The hosts file and nsswitch are
// not asked: what they lead to would not go by the way.
func (w way) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if host == "localhost" { // never a question to a resolver (RFC 6761 section 6.3); a proxy may live there
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	if w.noNames != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, w.noNames)
	}
	return markdial.Client{Servers: w.resolvers, Mark: w.mark}.LookupNetIP(ctx, host)
}
