package policy

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
)

// RouteState describes the content of a route's routing table.
type RouteState struct {
	Default4, Default6 bool           // it has a reachable default; neither: the route is down
	Links              []string       // interfaces that the defaults leave by, or, while there are none, the probes
	Silent             []netip.Prefix // what only peers of its tunnel take that are silent
	Defaults           []KernelRoute  // in the order in which the kernel prefers them, but for their families
	MTU                int            // bytes, the smallest of the defaults and their links; 0 without a default
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
				switch kr, ok := routeOf(n, names); {
				case ok && len(kr.Hops) > 0:
					s.add(kr, mtus)
				case ok && kr.Unreachable && kr.Dst.IsValid():
					s.Silent = append(s.Silent, kr.Dst)
				}
			}
		}
		states[r.Name] = s
	}
	return states, nil
}

func (s *RouteState) add(r KernelRoute, mtus map[string]int) {
	s.Default4 = s.Default4 || r.Family == gateway.V4 && !r.Dst.IsValid()
	s.Default6 = s.Default6 || r.Family == gateway.V6 && !r.Dst.IsValid()
	if !r.Dst.IsValid() {
		s.Defaults = append(s.Defaults, r)
	}
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
