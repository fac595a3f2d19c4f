package conntrack

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// seenReply is IPS_SEEN_REPLY of linux/netfilter/nf_conntrack_common.h.
const seenReply = 1 << 1

// parse reads a message with one entry, nfgenmsg included. id are the attributes that
// identify it to the kernel: the tuple, its zone, and the number that a later entry of the
// same tuple does not have. ok is false for a message without an entry.
func parse(msg []byte) (f Flow, id []byte, ok bool) {
	if len(msg) < nl.SizeofNfgenmsg {
		return f, nil, false
	}
	zone := false
	attributes(msg[nl.SizeofNfgenmsg:], func(typ uint16, data, attr []byte) {
		switch typ {
		case nl.CTA_TUPLE_ORIG:
			f.Src, f.Dst, f.Proto, f.Port = tuple(data)
		case nl.CTA_TUPLE_REPLY:
			f.To, _, _, _ = tuple(data)
		case nl.CTA_STATUS:
			f.Seen = len(data) == 4 && binary.BigEndian.Uint32(data)&seenReply != 0
		case nl.CTA_PROTOINFO:
			f.Ended = ended(data)
		case nl.CTA_LABELS:
			copy(f.label[:], data)
		case nl.CTA_ZONE:
			zone = zone || len(data) == 2 && binary.BigEndian.Uint16(data) != 0
		case nl.CTA_MARK:
			if len(data) == 4 {
				f.Mark = binary.BigEndian.Uint32(data)
			}
		}
		switch typ {
		case nl.CTA_TUPLE_ORIG, nl.CTA_ID, nl.CTA_ZONE:
			id = append(id, attr...)
		}
	})
	if zone {
		f.label = [16]byte{}
	}
	return f, id, f.Src.IsValid() && f.Dst.IsValid() && f.To.IsValid()
}

// The states of TCP in which both ends, or one of them, have closed (enum tcp_conntrack).
const (
	tcpFinWait = 4
	tcpClose   = 8
)

// ended reads the state of a TCP connection.
func ended(b []byte) (yes bool) {
	attributes(b, func(typ uint16, data, _ []byte) {
		if typ != nl.CTA_PROTOINFO_TCP {
			return
		}
		attributes(data, func(typ uint16, data, _ []byte) {
			if typ == nl.CTA_PROTOINFO_TCP_STATE && len(data) == 1 {
				yes = data[0] >= tcpFinWait && data[0] <= tcpClose
			}
		})
	})
	return yes
}

// tuple returns one direction's addresses, protocol and destination port.
func tuple(b []byte) (src, dst netip.Addr, proto uint8, port uint16) {
	attributes(b, func(typ uint16, data, _ []byte) {
		switch typ {
		case nl.CTA_TUPLE_IP:
			attributes(data, func(typ uint16, data, _ []byte) {
				a, _ := netip.AddrFromSlice(data) // invalid where it is not an address
				switch typ {
				case nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC:
					src = a
				case nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST:
					dst = a
				}
			})
		case nl.CTA_TUPLE_PROTO:
			attributes(data, func(typ uint16, data, _ []byte) {
				switch {
				case typ == nl.CTA_PROTO_NUM && len(data) == 1:
					proto = data[0]
				case typ == nl.CTA_PROTO_DST_PORT && len(data) == 2:
					port = binary.BigEndian.Uint16(data)
				}
			})
		}
	})
	return src, dst, proto, port
}

// attributes calls do for each netlink attribute up to the first malformed one. attr is
// the attribute with its header and padding.
func attributes(b []byte, do func(typ uint16, data, attr []byte)) {
	for len(b) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			return
		}
		next := min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b))
		typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		do(typ, b[unix.SizeofNlAttr:size], b[:next])
		b = b[next:]
	}
}
