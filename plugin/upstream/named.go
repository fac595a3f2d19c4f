package upstream

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
	"github.com/nameroute/nameroute/plugin/upstream/bootstrap"
)

// hostKey is a name that is looked up with a mark. Its addresses outlive the resolver, which
// goes with each move of the route.
type hostKey struct {
	name string
	mark gateway.Mark
}

// places returns where a resolver is. The caller holds u.mu.
func (u *Upstream) places(k key) places {
	if k.Host == "" {
		return at(k.Addr)
	}
	id := hostKey{k.Host, k.mark}
	h := u.hosts[id]
	if h == nil {
		h = &bootstrap.Host{Name: k.Host, Warn: log.Warningf, Lookup: func(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
			return u.lookUp(ctx, name, k.mark)
		}}
		if u.hosts == nil {
			u.hosts = map[hostKey]*bootstrap.Host{}
		}
		u.hosts[id] = h
	}
	return func(ctx context.Context) ([]netip.AddrPort, error) {
		addrs, err := h.Addrs(ctx)
		if err != nil {
			return nil, err
		}
		all := make([]netip.AddrPort, 0, len(addrs))
		for _, a := range addrs {
			all = append(all, netip.AddrPortFrom(a, k.Addr.Port()))
		}
		s := u.status()
		slices.SortStableFunc(all, func(a, b netip.AddrPort) int { return lacks(s, a.Addr()) - lacks(s, b.Addr()) })
		return all, nil
	}
}

// lookUp asks for a resolver's addresses over sockets with its own mark: via its route, or,
// where that falls back, via the WAN.
func (u *Upstream) lookUp(ctx context.Context, name string, mark gateway.Mark) ([]netip.Addr, time.Duration, error) {
	servers, s := u.opts.bootstrap, u.status()
	if len(servers) == 0 {
		if servers = s.Resolvers; mark != s.Route.Mark {
			servers = s.WANResolvers
		}
	}
	if len(servers) == 0 {
		return nil, 0, fmt.Errorf("look up %s via route %s: the route has no resolvers of its own: want bootstrap ADDRESS in the Corefile", name, u.opts.route)
	}
	addrs, ttl, err := markdial.Client{Servers: servers, Mark: mark, Timeout: u.opts.timeout / 2}.Lookup(ctx, name)
	if err != nil {
		return nil, 0, fmt.Errorf("via route %s: %w", u.opts.route, err)
	}
	return addrs, ttl, nil
}
