package check

import (
	"net"
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/provider"
)

// WireGuard's overhead on a packet, in bytes: the outer IP header, 8 of UDP, 32 of its own.
const (
	overheadV4 = 20 + 8 + 32
	overheadV6 = 40 + 8 + 32
)

// checkMTU finds tunnels whose packets do not fit into the WAN's. They would be fragmented,
// and many networks drop fragments.
func (h *host) checkMTU(r *report) {
	wan := smallestMTU(h.wan)
	if wan == 0 {
		return
	}
	for _, route := range h.cfg.Routes {
		switch route.Egress.Kind {
		case gateway.EgressWireGuard:
			conf, err := provider.Load(route.Egress.File)
			if err != nil {
				continue // reported by checkProviders
			}
			mtu, where := route.MTU, h.cfg.File
			if mtu == 0 {
				mtu, where = conf.MTU, route.Egress.File
			}
			if fits := wan - overhead(conf); mtu > fits {
				r.warn("route %s: MTU %d does not fit into the WAN's %d: large packets are lost: set %d, or remove it (%s)", route.Name, mtu, wan, fits, where)
			}
		case gateway.EgressInterface:
			if mtu := smallestMTU([]string{route.Egress.Link}); mtu > wan {
				r.warn("route %s: the MTU of %s (%d) is larger than the WAN's (%d): ip link set %s mtu %d, less the tunnel's overhead", route.Name, route.Egress.Link, mtu, wan, route.Egress.Link, wan)
			}
		}
	}
}

// overhead returns a tunnel's overhead. The name of an endpoint may have an IPv6 address.
func overhead(conf *provider.Conf) int {
	for _, p := range conf.Peers {
		if p.Endpoint.IsZero() {
			continue
		}
		if a, err := netip.ParseAddr(p.Endpoint.Host); err != nil || a.Is6() {
			return overheadV6
		}
	}
	return overheadV4
}

// smallestMTU returns the smallest MTU of the interfaces that exist, 0 without any.
func smallestMTU(links []string) int {
	mtu := 0
	for _, l := range links {
		if i, err := net.InterfaceByName(l); err == nil && (mtu == 0 || i.MTU < mtu) {
			mtu = i.MTU
		}
	}
	return mtu
}
