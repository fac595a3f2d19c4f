package check

import (
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/wg"
)

// checkTunnels finds interfaces of a tunnel's name that nameroute has not made, such as
// wg-quick's of the same file. nameroute never takes them over.
func (h *host) checkTunnels(r *report) {
	for _, route := range h.cfg.Routes {
		if route.Egress.Kind == gateway.EgressWireGuard && IsForeignLink(route.Egress.Link) {
			r.warn("route %[1]s stays down: interface %[2]s exists and was not made by nameroute: systemctl disable --now wg-quick@%[2]s, or ip link delete %[2]s", route.Name, route.Egress.Link)
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
