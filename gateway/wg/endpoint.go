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
	Mark     gateway.Mark                   // of the WAN, by which the endpoints are reached
	Current  map[wgtypes.Key]netip.AddrPort // where the peers are now; see Status.Endpoints
	Next     bool                           // move on to another address where there is one
}

// Endpoints finds the address of every peer that has an endpoint. An address in the
// file is taken as it is. Of a name's addresses the current one is kept if it is
// still among them; else the first that the WAN has a way to, IPv6 before IPv4 as
// RFC 6724 has it. With Next, which is for a tunnel that is down, it is the one
// after the current, in turn through both families: WireGuard tries one address
// only, and one of a provider's machines, or the WAN's IPv6, may be dead.
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

// Endpoints tells where the peers are now.
func (s Status) Endpoints() map[wgtypes.Key]netip.AddrPort {
	out := map[wgtypes.Key]netip.AddrPort{}
	for _, p := range s.Peers {
		if p.Endpoint.IsValid() {
			out[p.PublicKey] = p.Endpoint
		}
	}
	return out
}

// pick chooses one of at least one address. Where none can be reached (there is no
// WAN yet) it chooses as if all could.
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
	turn := inTurn(usable)
	return turn[(slices.Index(turn, current)+1)%len(turn)]
}

// inTurn puts addresses in a lasting order, one of each family in turn: resolvers
// shuffle them, and going on from the current one must reach them all.
func inTurn(addrs []netip.Addr) []netip.Addr {
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

// reachable asks the kernel for a way to the address, with the mark: connecting a
// UDP socket looks the way up and sends nothing.
func reachable(ctx context.Context, a netip.Addr, port uint16, mark gateway.Mark) bool {
	c, err := markdial.Dialer(mark, 0).DialContext(ctx, "udp", netip.AddrPortFrom(a, port).String())
	if err != nil {
		return false
	}
	c.Close()
	return true
}
