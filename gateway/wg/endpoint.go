package wg

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
	"github.com/nameroute/nameroute/gateway/provider"
)

// Resolver finds the addresses of an endpoint's name, of both families.
type Resolver interface {
	LookupNetIP(ctx context.Context, host string) ([]netip.Addr, error)
}

// Ask is what Endpoints needs besides the file.
type Ask struct {
	Resolver Resolver
	Mark     gateway.Mark                   // of the WAN, via which the endpoints are reached
	Current  map[wgtypes.Key]netip.AddrPort // where the peers are now; see Status.Endpoints
	Next     bool                           // move on to another address where there is one
}

// Endpoints returns the address of every peer that has an endpoint. An address in the
// file is used as it is. Of a name's addresses it keeps the current one if it is still
// among them; else it takes the first one that the WAN has a route to, IPv6 before IPv4
// (RFC 6724). With Next, for a tunnel that is down, it takes the one after the current,
// alternating between the families: WireGuard tries one address only, and one of a
// provider's machines, or the WAN's IPv6, may be dead.
//
// The error joins those of all names; the map has what was found.
func Endpoints(ctx context.Context, c *provider.Conf, ask Ask) (map[wgtypes.Key]netip.AddrPort, error) {
	out := map[wgtypes.Key]netip.AddrPort{}
	known := map[string][]netip.Addr{}
	var errs []error
	for _, p := range c.Peers {
		if p.Endpoint.IsZero() {
			continue
		}
		if literal, ok := p.Endpoint.Addr(); ok {
			out[p.PublicKey] = literal
			continue
		}
		addrs, asked := known[p.Endpoint.Host]
		if !asked {
			var err error
			if addrs, err = ask.Resolver.LookupNetIP(ctx, p.Endpoint.Host); err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: endpoint: %w", c.File, p.Line, err))
			}
			known[p.Endpoint.Host] = addrs
		}
		if len(addrs) == 0 {
			continue
		}
		reach := func(a netip.Addr) bool { return reachable(ctx, a, p.Endpoint.Port, ask.Mark) }
		addr := pick(addrs, ask.Current[p.PublicKey].Addr(), ask.Next, reach)
		out[p.PublicKey] = netip.AddrPortFrom(addr, p.Endpoint.Port)
	}
	return out, errors.Join(errs...)
}

// Endpoints returns the peers' current endpoints.
func (s Status) Endpoints() map[wgtypes.Key]netip.AddrPort {
	out := map[wgtypes.Key]netip.AddrPort{}
	for _, p := range s.Peers {
		if p.Endpoint.IsValid() {
			out[p.PublicKey] = p.Endpoint
		}
	}
	return out
}

// pick chooses one of the addresses, of which there is at least one. Where none is
// reachable (there is no WAN yet) it chooses as if all were.
func pick(addrs []netip.Addr, current netip.Addr, next bool, reach func(netip.Addr) bool) netip.Addr {
	usable := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !reach(a) })
	if len(usable) == 0 {
		usable = addrs
	}
	if !slices.Contains(usable, current) {
		for _, a := range usable {
			if a.Is6() {
				return a
			}
		}
		return usable[0]
	}
	if !next {
		return current
	}
	all := alternate(usable)
	return all[(slices.Index(all, current)+1)%len(all)]
}

// alternate returns the addresses in a stable order, alternating between the families:
// resolvers shuffle them, and going on from the current one must reach them all.
func alternate(addrs []netip.Addr) []netip.Addr {
	var by [2][]netip.Addr
	for _, a := range addrs {
		i := 0
		if a.Is4() {
			i = 1
		}
		by[i] = append(by[i], a)
	}
	var out []netip.Addr
	for i := range by {
		slices.SortFunc(by[i], netip.Addr.Compare)
		by[i] = slices.Compact(by[i])
	}
	for i := range max(len(by[0]), len(by[1])) {
		for _, list := range by {
			if i < len(list) {
				out = append(out, list[i])
			}
		}
	}
	return out
}

// reachable reports whether the kernel has a route to the address for packets with the
// mark: connecting a UDP socket looks it up and sends nothing.
func reachable(ctx context.Context, a netip.Addr, port uint16, mark gateway.Mark) bool {
	c, err := markdial.Dialer(mark, 0).DialContext(ctx, "udp", netip.AddrPortFrom(a, port).String())
	if err != nil {
		return false
	}
	c.Close()
	return true
}
