// Package neighbour finds out which host of a link an address is reached by. A host may
// send from as many addresses as it likes; of link-layer addresses it has one, unless it
// forges these, too.
package neighbour

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Host is a host of a link: the next one on the way to an address. It can be compared.
type Host struct {
	Link int // index of the interface; 0: not known
	MAC  [8]byte
	// Known says that the kernel knows the link-layer address: the host has answered for
	// the address. Otherwise MAC is zero.
	Known bool
}

// Of asks the kernel, which takes some 50 us. What it does not know is zero.
func Of(a netip.Addr) Host {
	via, link := a.Unmap(), 0
	if a.Is6() && a.IsLinkLocalUnicast() {
		if dev, err := net.InterfaceByName(a.Zone()); err == nil {
			link = dev.Index
		}
	} else if routes, err := netlink.RouteGet(via.AsSlice()); err == nil && len(routes) > 0 {
		link = routes[0].LinkIndex
		if gw, ok := netip.AddrFromSlice(routes[0].Gw); ok {
			via = gw.Unmap()
		}
	}
	if link == 0 {
		return Host{}
	}
	return lookUp(via, link)
}

// lookUp asks for one entry of the table of neighbours.
func lookUp(a netip.Addr, link int) Host {
	h := Host{Link: link}
	family := unix.AF_INET
	if a.Is6() {
		family = unix.AF_INET6
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, 0)
	req.AddData(&netlink.Ndmsg{Family: uint8(family), Index: uint32(link)})
	req.AddData(nl.NewRtAttr(netlink.NDA_DST, a.AsSlice()))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	if err != nil || len(msgs) == 0 {
		return h
	}
	n, err := netlink.NeighDeserialize(msgs[0])
	if err != nil || n.State&(unix.NUD_INCOMPLETE|unix.NUD_FAILED|unix.NUD_NOARP) != 0 {
		return h
	}
	h.Known = copy(h.MAC[:], n.HardwareAddr) > 0
	return h
}
