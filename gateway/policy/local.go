package policy

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
)

// maxLocal bounds the result of Local: the million kernel routes of a box with a full BGP
// table are not local networks.
const maxLocal = 4096

// RouteState describes the content of a route's routing table.
type RouteState struct {
	Default4, Default6 bool     // it has a reachable default; neither: the route is down
	Links              []string // interfaces that the defaults leave by
	MTU                int      // bytes, the smallest of the defaults and their links; 0 without a default
}

// Up reports whether the route has a default of any family.
func (s RouteState) Up() bool { return s.Default4 || s.Default6 }

// Routes returns the state of every route, wan included, by its name. The sidecar
// decides it; the other parts read it here.
func Routes(cfg *gateway.Config) (map[string]RouteState, error) {
	k, err := newReader()
	if err != nil {
		return nil, err
	}
	defer k.close()
	links, err := nlretry.Dump(k.h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link: %w", err)
	}
	names, mtus := map[int]string{}, map[string]int{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
		mtus[l.Attrs().Name] = l.Attrs().MTU
	}
	states := map[string]RouteState{}
	for _, r := range cfg.AllRoutes() {
		var s RouteState
		for _, f := range k.families {
			dump, err := k.dump(f, &netlink.Route{Table: r.Table}, netlink.RT_FILTER_TABLE)
			if err != nil {
				return nil, err
			}
			for _, n := range dump {
				if kr, ok := routeOf(n, names); ok && isDefault(n) && !kr.Unreachable {
					s.add(kr, mtus)
				}
			}
		}
		states[r.Name] = s
	}
	return states, nil
}

func (s *RouteState) add(r KernelRoute, mtus map[string]int) {
	s.Default4 = s.Default4 || r.Family == gateway.V4
	s.Default6 = s.Default6 || r.Family == gateway.V6
	for _, link := range r.Links() {
		mtu := mtus[link]
		if r.MTU > 0 {
			mtu = min(mtu, r.MTU)
		}
		if s.MTU == 0 || mtu < s.MTU {
			s.MTU = mtu
		}
		if !slices.Contains(s.Links, link) {
			s.Links = append(s.Links, link)
		}
	}
}

// Local returns what is never rerouted because it is local: the box's own addresses and
// broadcasts, and every network of table main that the policy rule leaves to that table
// (prefixes longer than /1, of IPv6 than /7) and that is not behind one of the egress
// links. Of more than 4,096 networks it returns only those that are directly connected.
func Local(egressLinks []string) ([]netip.Prefix, error) {
	k, err := newReader()
	if err != nil {
		return nil, err
	}
	defer k.close()
	names, err := k.linkNames()
	if err != nil {
		return nil, err
	}
	var local []netip.Prefix
	for _, f := range k.families {
		own, err := k.own(f)
		if err != nil {
			return nil, err
		}
		networks, err := k.networks(f, func(link int) bool { return slices.Contains(egressLinks, names[link]) })
		if err != nil {
			return nil, err
		}
		local = append(append(local, own...), networks...)
	}
	slices.SortFunc(local, netip.Prefix.Compare)
	return slices.Compact(local), nil
}

// own returns the addresses that the box answers to, broadcasts included, from the local
// table.
func (k *reader) own(f gateway.Family) ([]netip.Prefix, error) {
	dump, err := k.dump(f, &netlink.Route{Table: unix.RT_TABLE_LOCAL}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	var own []netip.Prefix
	for _, n := range dump {
		switch n.Type {
		case unix.RTN_LOCAL, unix.RTN_BROADCAST, unix.RTN_ANYCAST:
			if p, ok := prefixOf(n, f); ok {
				own = append(own, p)
			}
		}
	}
	return own, nil
}

func (k *reader) networks(f gateway.Family, egress func(link int) bool) ([]netip.Prefix, error) {
	suppress := gateway.SuppressV4
	if f == gateway.V6 {
		suppress = gateway.SuppressV6
	}
	var all, connected []netip.Prefix
	err := k.each(f, &netlink.Route{Table: mainTable}, netlink.RT_FILTER_TABLE, func(n netlink.Route) {
		p, ok := prefixOf(n, f)
		if !ok || p.Bits() <= suppress || n.Type == unix.RTN_THROW || leavesBy(n, egress) {
			return
		}
		if len(all) <= maxLocal {
			all = append(all, p)
		}
		if n.Gw == nil && n.Via == nil && len(n.MultiPath) == 0 && len(connected) < maxLocal {
			connected = append(connected, p)
		}
	}, func() { all, connected = nil, nil })
	if len(all) > maxLocal {
		return connected, err
	}
	return all, err
}

// leavesBy reports whether every hop of the kernel route is on an egress.
func leavesBy(n netlink.Route, egress func(link int) bool) bool {
	if len(n.MultiPath) == 0 {
		return egress(n.LinkIndex)
	}
	return !slices.ContainsFunc(n.MultiPath, func(h *netlink.NexthopInfo) bool { return !egress(h.LinkIndex) })
}

func prefixOf(n netlink.Route, f gateway.Family) (netip.Prefix, bool) {
	if n.Dst == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.Dst.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	if f == gateway.V4 {
		addr = addr.Unmap()
	}
	ones, _ := n.Dst.Mask.Size()
	p, err := addr.Prefix(ones)
	return p, err == nil
}
