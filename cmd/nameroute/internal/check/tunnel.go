package check

import (
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/wg"
)

// checkTunnels finds an interface of a tunnel's name that is somebody else's, as
// wg-quick makes it of the same file. It is never taken over, and its route stays closed.
func (h *host) checkTunnels(r *report) {
	for _, route := range h.cfg.Routes {
		if route.Egress.Kind == gateway.EgressWireGuard && IsForeignLink(route.Egress.Link) {
			r.warn("route %[1]s: there is an interface %[2]s that is not ours, so that the route stays closed: systemctl disable --now wg-quick@%[2]s, or ip link delete %[2]s", route.Name, route.Egress.Link)
		}
	}
}

// IsForeignLink reports whether there is an interface that nameroute has not made.
func IsForeignLink(name string) bool {
	if _, err := netlink.LinkByName(name); err != nil {
		return false
	}
	ours, err := wg.Links()
	return err == nil && !slices.ContainsFunc(ours, func(o wg.Link) bool { return o.Name == name })
}
