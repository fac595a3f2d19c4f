package check

import (
	"net"
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/provider"
)

// What WireGuard adds to a packet, in bytes: the outer IP header, 8 of UDP and 32 of
// its own.
const (
	overheadV4 = 20 + 8 + 32
	overheadV6 = 40 + 8 + 32
)

// checkMTU finds a tunnel whose packets do not fit into the WAN's. They would be sent
// in fragments, which many networks drop.
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
				continue // said where the files are looked at
			}
			mtu, where := route.MTU, h.cfg.File
			if mtu == 0 {
				mtu, where = conf.MTU, route.Egress.File
			}
			if fits := wan - overhead(conf); mtu > fits {
				r.warn("route %s: its MTU of %d is too large for the WAN's of %d: large packets get lost: write %d, or leave it out (%s)", route.Name, mtu, wan, fits, where)
			}
		case gateway.EgressInterface:
			if mtu := smallestMTU([]string{route.Egress.Link}); mtu > wan {
				r.warn("route %s: the MTU of %s (%d) is larger than the WAN's of %d: ip link set %s mtu %d, or less for what the tunnel adds", route.Name, route.Egress.Link, mtu, wan, route.Egress.Link, wan)
			}
		}
	}
}

// overhead is what a tunnel adds where all its endpoints are IPv4 addresses; a name
// may have either kind.
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

// smallestMTU is that of the interfaces that are there; 0 without any.
func smallestMTU(links []string) int {
	mtu := 0
	for _, l := range links {
		if i, err := net.InterfaceByName(l); err == nil && (mtu == 0 || i.MTU < mtu) {
			mtu = i.MTU
		}
	}
	return mtu
}
