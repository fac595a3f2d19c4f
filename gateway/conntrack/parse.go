package conntrack

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// parse reads one entry, as it follows its nfgenmsg. name are its attributes that name
// it to the kernel: the tuple, its zone, and the number that an entry of the same tuple
// which follows it does not have. ok is false for what is no entry.
func parse(msg []byte) (f Flow, name []byte, ok bool) {
	if len(msg) < nl.SizeofNfgenmsg {
		return f, nil, false
	}
	attributes(msg[nl.SizeofNfgenmsg:], func(typ uint16, data, whole []byte) {
		switch typ {
		case nl.CTA_TUPLE_ORIG:
			f.Src, f.Dst, f.Port = tuple(data)
		case nl.CTA_TUPLE_REPLY:
			f.To, _, _ = tuple(data)
		case nl.CTA_MARK:
			if len(data) == 4 {
				f.Mark = binary.BigEndian.Uint32(data)
			}
		}
		switch typ {
		case nl.CTA_TUPLE_ORIG, nl.CTA_ID, nl.CTA_ZONE:
			name = append(name, whole...)
		}
	})
	return f, name, f.Src.IsValid() && f.Dst.IsValid() && f.To.IsValid()
}

// tuple reads one direction's addresses and the port that it goes to.
func tuple(b []byte) (src, dst netip.Addr, port uint16) {
	attributes(b, func(typ uint16, data, _ []byte) {
		switch typ {
		case nl.CTA_TUPLE_IP:
			attributes(data, func(typ uint16, data, _ []byte) {
				a, _ := netip.AddrFromSlice(data) // what is none stays invalid
				switch typ {
				case nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC:
					src = a
				case nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST:
					dst = a
				}
			})
		case nl.CTA_TUPLE_PROTO:
			attributes(data, func(typ uint16, data, _ []byte) {
				if typ == nl.CTA_PROTO_DST_PORT && len(data) == 2 {
					port = binary.BigEndian.Uint16(data)
				}
			})
		}
	})
	return src, dst, port
}

// attributes walks netlink attributes up to the first malformed one. whole is an
// attribute with its header and padding.
func attributes(b []byte, see func(typ uint16, data, whole []byte)) {
	for len(b) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofNlAttr || size > len(b) {
			return
		}
		next := min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b))
		typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		see(typ, b[unix.SizeofNlAttr:size], b[:next])
		b = b[next:]
	}
}
