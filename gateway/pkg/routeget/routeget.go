// Package routeget asks the kernel which way a packet would take, as `ip route get` does.
// The request of the netlink library has neither protocol nor ports.
package routeget

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Packet is what the kernel is asked about. The zero values of all but To are the box's own
// packets without a mark, of no user and no protocol in particular.
type Packet struct {
	To, From     netip.Addr
	Mark         uint32
	Iif, Oif     int // indexes
	Tos          uint8
	Protocol     uint8 // TCP, UDP, ICMP or ICMPv6: the kernel takes no other (rtm_getroute_parse_ip_proto)
	Sport, Dport uint16
	UID          *uint32 // of the box's own packets
}

// Result is how the packet leaves.
type Result struct {
	Table, Link int        // Link is an index
	Gateway     netip.Addr // not valid where there is none
	Source      netip.Addr // that the kernel chooses for the box's own packets
}

// Ask returns the table and the interface by which the packet leaves.
func (p Packet) Ask() (table, link int, err error) {
	r, err := p.Look()
	return r.Table, r.Link, err
}

// Look returns the way by which the packet leaves.
func (p Packet) Look() (r Result, err error) {
	replies, err := p.request().Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil {
		return r, err
	}
	if len(replies) == 0 || len(replies[0]) < unix.SizeofRtMsg {
		return r, errors.New("no answer")
	}
	attrs, err := nl.ParseRouteAttr(replies[0][unix.SizeofRtMsg:])
	for _, a := range attrs {
		switch {
		case a.Attr.Type == unix.RTA_TABLE && len(a.Value) == 4:
			r.Table = int(binary.NativeEndian.Uint32(a.Value))
		case a.Attr.Type == unix.RTA_OIF && len(a.Value) == 4:
			r.Link = int(binary.NativeEndian.Uint32(a.Value))
		case a.Attr.Type == unix.RTA_GATEWAY:
			r.Gateway, _ = netip.AddrFromSlice(a.Value)
		case a.Attr.Type == unix.RTA_VIA && len(a.Value) > 2:
			r.Gateway, _ = netip.AddrFromSlice(a.Value[2:]) // after its family
		case a.Attr.Type == unix.RTA_PREFSRC:
			r.Source, _ = netip.AddrFromSlice(a.Value)
		}
	}
	return r, err
}

func (p Packet) request() *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	msg := &nl.RtMsg{}
	msg.Family, msg.Dst_len = unix.AF_INET6, uint8(p.To.BitLen())
	if p.To.Is4() {
		msg.Family = unix.AF_INET
	}
	msg.Tos, msg.Flags = p.Tos, unix.RTM_F_LOOKUP_TABLE
	req.AddData(msg)
	add := func(when bool, attribute int, data []byte) {
		if when {
			req.AddData(nl.NewRtAttr(attribute, data))
		}
	}
	add(true, unix.RTA_DST, p.To.AsSlice())
	if p.From.IsValid() {
		msg.Src_len = uint8(p.From.BitLen())
		add(true, unix.RTA_SRC, p.From.AsSlice())
	}
	add(p.Mark != 0, unix.RTA_MARK, nl.Uint32Attr(p.Mark))
	add(p.Iif != 0, unix.RTA_IIF, nl.Uint32Attr(uint32(p.Iif)))
	add(p.Oif != 0, unix.RTA_OIF, nl.Uint32Attr(uint32(p.Oif)))
	add(p.Protocol != 0, unix.RTA_IP_PROTO, []byte{p.Protocol})
	add(p.Sport != 0, unix.RTA_SPORT, binary.BigEndian.AppendUint16(nil, p.Sport))
	add(p.Dport != 0, unix.RTA_DPORT, binary.BigEndian.AppendUint16(nil, p.Dport))
	if p.UID != nil && p.Iif == 0 {
		add(true, unix.RTA_UID, nl.Uint32Attr(*p.UID))
	}
	return req
}
