package policy

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

func familyNumber(f gateway.Family) int {
	if f == gateway.V6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func familyOf(number int) gateway.Family {
	if number == unix.AF_INET6 {
		return gateway.V6
	}
	return gateway.V4
}

// netlink turns a rule into the library's.
func (r Rule) netlink() *netlink.Rule {
	n := netlink.NewRule() // its zero values mean something: suppress 0, goto 0
	n.Family, n.Priority, n.Invert = familyNumber(r.Family), r.Priority, r.Invert
	if mask := r.Mark.Mask; mask != 0 {
		n.Mark, n.Mask = r.Mark.Value, &mask
	}
	if r.User != 0 {
		n.UIDRange = netlink.NewRuleUIDRange(r.User, r.User)
	}
	n.Table, n.SuppressPrefixlen = r.Table, r.Suppress
	n.Src, n.Dst, n.IifName, n.OifName = ipNet(r.Src), ipNet(r.Dst), r.Iif, r.Oif
	if r.Unreachable {
		n.Type = unix.RTN_UNREACHABLE // FR_ACT_UNREACHABLE has the same number
	}
	n.Protocol = gateway.Protocol
	return n
}

func ipNet(p netip.Prefix) *net.IPNet {
	if !p.IsValid() {
		return nil
	}
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// ruleOf reads a rule that is ours, by its protocol number.
func ruleOf(n netlink.Rule) Rule {
	r := Rule{
		Family: familyOf(n.Family), Priority: n.Priority, Invert: n.Invert,
		Table: n.Table, Suppress: n.SuppressPrefixlen, Mark: gateway.Mark{Value: n.Mark},
		Unreachable: n.Table == unix.RT_TABLE_UNSPEC, Iif: n.IifName, Oif: n.OifName,
	}
	r.Src, _ = prefixOf(netlink.Route{Dst: n.Src}, r.Family)
	r.Dst, _ = prefixOf(netlink.Route{Dst: n.Dst}, r.Family)
	if n.UIDRange != nil {
		r.User = n.UIDRange.Start
	}
	if n.Mask != nil {
		r.Mark.Mask = *n.Mask
	}
	return r
}

// request is the netlink message that adds or deletes a route. It is built here
// and not by the library, whose Priority is an int that a metric of 4294967295
// does not fit on 32-bit machines, and which sends an output interface of 0 along.
func (r KernelRoute) request(command, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(command, flags|unix.NLM_F_ACK)
	msg := nl.NewRtMsg()
	msg.Family = uint8(familyNumber(r.Family))
	msg.Table = unix.RT_TABLE_UNSPEC
	msg.Protocol = gateway.Protocol
	msg.Type = unix.RTN_UNICAST
	switch {
	case r.Unreachable:
		msg.Type = unix.RTN_UNREACHABLE
	case r.Throw:
		msg.Type = unix.RTN_THROW
	}
	if r.scopeLink() {
		msg.Scope = unix.RT_SCOPE_LINK
	}
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(uint32(r.Table))))
	req.AddData(nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(r.Metric)))
	if r.Dst.IsValid() {
		msg.Dst_len = uint8(r.Dst.Bits())
		req.AddData(nl.NewRtAttr(unix.RTA_DST, r.Dst.Addr().AsSlice()))
	}
	if command == unix.RTM_DELROUTE {
		msg.Scope = unix.RT_SCOPE_NOWHERE // any
		return req                        // without hops: all of them
	}
	if r.Src.IsValid() {
		req.AddData(nl.NewRtAttr(unix.RTA_PREFSRC, r.Src.AsSlice()))
	}
	if r.MTU > 0 {
		req.AddData(r.metrics())
	}
	switch {
	case len(r.Hops) > 1:
		req.AddData(r.multipath())
	case len(r.Hops) == 1:
		h := r.Hops[0]
		msg.Flags = h.flags()
		req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(h.Index))))
		if h.Via.IsValid() {
			req.AddData(h.gateway(r.Family))
		}
	}
	return req
}

func (r KernelRoute) metrics() *nl.RtAttr {
	attr := nl.NewRtAttr(unix.RTA_METRICS, nil)
	attr.AddRtAttr(unix.RTAX_MTU, nl.Uint32Attr(uint32(r.MTU)))
	if r.LockMTU {
		attr.AddRtAttr(unix.RTAX_LOCK, nl.Uint32Attr(1<<unix.RTAX_MTU))
	}
	return attr
}

func (r KernelRoute) multipath() *nl.RtAttr {
	var buf []byte
	for _, h := range r.Hops {
		hop := &nl.RtNexthop{RtNexthop: unix.RtNexthop{
			Hops: uint8(h.Weight - 1), Ifindex: int32(h.Index), Flags: uint8(h.flags()),
		}}
		if h.Via.IsValid() {
			hop.Children = append(hop.Children, h.gateway(r.Family))
		}
		buf = append(buf, hop.Serialize()...)
	}
	return nl.NewRtAttr(unix.RTA_MULTIPATH, buf)
}

func (h Hop) flags() uint32 {
	if h.OnLink {
		return unix.RTNH_F_ONLINK
	}
	return 0
}

// gateway is the attribute for the next hop's address. One of the other family
// has its own kind (RFC 5549).
func (h Hop) gateway(f gateway.Family) *nl.RtAttr {
	if f == gateway.V4 && h.Via.Is6() {
		family := binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
		return nl.NewRtAttr(unix.RTA_VIA, append(family, h.Via.AsSlice()...))
	}
	return nl.NewRtAttr(unix.RTA_GATEWAY, h.Via.WithZone("").AsSlice())
}

// routeOf reads a kernel route that is a default or thrown. ok is false for kinds that are
// neither ours nor worth following: with a type of service, encapsulated, only dead hops.
func routeOf(n netlink.Route, names map[int]string) (r KernelRoute, ok bool) {
	r = KernelRoute{
		Family: familyOf(n.Family), Table: n.Table, Metric: uint32(n.Priority),
		MTU: n.MTU, LockMTU: n.MTULock, Unreachable: n.Type == unix.RTN_UNREACHABLE,
	}
	if n.Type == unix.RTN_THROW {
		r.Dst, r.Throw = prefixOf(n, r.Family)
		return r, r.Throw
	}
	if r.Dst, ok = prefixOf(n, r.Family); isDefault(n) {
		r.Dst = netip.Prefix{}
	} else if !ok {
		return r, false
	}
	if r.Unreachable {
		return r, true
	}
	if n.Type != unix.RTN_UNICAST || n.Tos != 0 || n.Encap != nil {
		return r, false
	}
	if src, ok := netip.AddrFromSlice(n.Src); ok {
		r.Src = src.Unmap()
	}
	hops := n.MultiPath
	if len(hops) == 0 {
		hops = []*netlink.NexthopInfo{{LinkIndex: n.LinkIndex, Gw: n.Gw, Via: n.Via, Flags: n.Flags}}
	}
	for _, hop := range hops {
		if h, ok := hopOf(hop, names); ok {
			r.Hops = append(r.Hops, h)
		}
	}
	sortHops(r.Hops)
	return r, len(r.Hops) > 0
}

func hopOf(n *netlink.NexthopInfo, names map[int]string) (Hop, bool) {
	h := Hop{
		Link: names[n.LinkIndex], Index: n.LinkIndex,
		OnLink: n.Flags&unix.RTNH_F_ONLINK != 0, Weight: n.Hops + 1,
	}
	gw := n.Gw
	if via, ok := n.Via.(*netlink.Via); ok && via != nil {
		gw = via.Addr
	}
	if a, ok := netip.AddrFromSlice(gw); ok {
		h.Via = a
		if len(gw) == 4 {
			h.Via = a.Unmap()
		}
	}
	// A dead hop's interface is down; the kernel would refuse a copy of it.
	return h, h.Link != "" && n.Encap == nil && n.Flags&unix.RTNH_F_DEAD == 0
}
