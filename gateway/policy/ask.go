package policy

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// packet is what the kernel is asked about: which way it would take. The zero values of all
// but to and mark are the box's own, of no user and no protocol in particular.
type packet struct {
	to, from     netip.Addr
	mark         uint32
	iif, oif     int
	tos, proto   uint8
	sport, dport uint16
	uid          *uint32
}

// selected returns the packet as one that the rule's selectors match, those for addresses,
// interfaces and marks aside. ok is false where the kernel cannot be asked about such: it
// knows TCP, UDP and ICMP (rtm_getroute_parse_ip_proto), and no tunnel ids.
func (p packet) selected(r netlink.Rule) (of packet, ok bool) {
	p.tos, p.proto = uint8(r.Tos), uint8(r.IPProto)
	if r.Sport != nil {
		p.sport = r.Sport.Start
	}
	if r.Dport != nil {
		p.dport = r.Dport.Start
	}
	if (r.Sport != nil || r.Dport != nil) && p.proto == 0 {
		p.proto = unix.IPPROTO_TCP
	}
	if r.UIDRange != nil {
		p.uid = &r.UIDRange.Start
	}
	switch p.proto {
	case 0, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return p, r.TunID == 0
	}
	return p, false
}

// ask returns the table and the interface by which a packet leaves. The library's request
// has no ports.
func ask(p packet) (table, link int, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	msg := &nl.RtMsg{}
	msg.Family, msg.Dst_len = uint8(familyNumber(gateway.FamilyOf(p.to))), uint8(p.to.BitLen())
	msg.Tos, msg.Flags = p.tos, unix.RTM_F_LOOKUP_TABLE
	req.AddData(msg)
	add := func(when bool, attribute int, data []byte) {
		if when {
			req.AddData(nl.NewRtAttr(attribute, data))
		}
	}
	add(true, unix.RTA_DST, p.to.AsSlice())
	if p.from.IsValid() {
		msg.Src_len = uint8(p.from.BitLen())
		add(true, unix.RTA_SRC, p.from.AsSlice())
	}
	add(p.mark != 0, unix.RTA_MARK, nl.Uint32Attr(p.mark))
	add(p.iif != 0, unix.RTA_IIF, nl.Uint32Attr(uint32(p.iif)))
	add(p.oif != 0, unix.RTA_OIF, nl.Uint32Attr(uint32(p.oif)))
	add(p.proto != 0, unix.RTA_IP_PROTO, []byte{p.proto})
	add(p.sport != 0, unix.RTA_SPORT, binary.BigEndian.AppendUint16(nil, p.sport))
	add(p.dport != 0, unix.RTA_DPORT, binary.BigEndian.AppendUint16(nil, p.dport))
	if p.uid != nil && p.iif == 0 {
		add(true, unix.RTA_UID, nl.Uint32Attr(*p.uid))
	}
	replies, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil {
		return 0, 0, err
	}
	if len(replies) == 0 || len(replies[0]) < unix.SizeofRtMsg {
		return 0, 0, errors.New("no answer")
	}
	attrs, err := nl.ParseRouteAttr(replies[0][unix.SizeofRtMsg:])
	for _, a := range attrs {
		switch {
		case a.Attr.Type == unix.RTA_TABLE && len(a.Value) == 4:
			table = int(binary.NativeEndian.Uint32(a.Value))
		case a.Attr.Type == unix.RTA_OIF && len(a.Value) == 4:
			link = int(binary.NativeEndian.Uint32(a.Value))
		}
	}
	return table, link, err
}
