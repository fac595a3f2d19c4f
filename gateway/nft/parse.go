package nft

import (
	"bytes"
	"encoding/binary"
	"iter"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// attribute is one netlink attribute; data points into the message.
type attribute struct {
	typ  uint16
	data []byte
}

// attrs walks netlink attributes and ends at the first malformed one: the kernel
// does not send any, and a listener must not stop at a message that it cannot read.
func attrs(b []byte) iter.Seq2[int, attribute] {
	return func(yield func(int, attribute) bool) {
		for i := 0; len(b) >= 4; i++ {
			size := int(binary.NativeEndian.Uint16(b))
			if size < 4 || size > len(b) {
				return
			}
			typ := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(i, attribute{typ, b[4:size]}) {
				return
			}
			b = b[min(align(size), len(b)):]
		}
	}
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func be32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func be64(b []byte) uint64 {
	if len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// event is one message about the ruleset: an event of the watch, or a line of a dump.
type event struct {
	typ    uint16 // NFT_MSG_*
	family byte   // of the table
	table  string
	name   string // of the set or chain, where there is one
	elems  []element
}

// parseEvent reads the payload of a message of the nftables subsystem.
// ok is false for one that is too short to be one.
func parseEvent(typ uint16, payload []byte) (e event, ok bool) {
	if len(payload) < 4 {
		return event{}, false
	}
	e = event{typ: typ, family: payload[0]}
	for _, a := range attrs(payload[4:]) {
		switch {
		case a.typ == 1: // NFTA_TABLE_NAME, NFTA_{CHAIN,RULE,SET,SET_ELEM_LIST}_TABLE
			e.table = cString(a.data)
		case isElements(typ) && a.typ == unix.NFTA_SET_ELEM_LIST_SET,
			isSet(typ) && a.typ == unix.NFTA_SET_NAME,
			isRule(typ) && a.typ == unix.NFTA_RULE_CHAIN,
			isChain(typ) && a.typ == unix.NFTA_CHAIN_NAME:
			e.name = cString(a.data)
		case isElements(typ) && a.typ == unix.NFTA_SET_ELEM_LIST_ELEMENTS:
			for _, item := range attrs(a.data) {
				if el, ok := parseElement(item.data); ok {
					e.elems = append(e.elems, el)
				}
			}
		}
	}
	return e, true
}

func isElements(typ uint16) bool {
	return typ == unix.NFT_MSG_NEWSETELEM || typ == unix.NFT_MSG_DELSETELEM
}
func isSet(typ uint16) bool   { return typ == unix.NFT_MSG_NEWSET || typ == unix.NFT_MSG_DELSET }
func isRule(typ uint16) bool  { return typ == unix.NFT_MSG_NEWRULE || typ == unix.NFT_MSG_DELRULE }
func isChain(typ uint16) bool { return typ == unix.NFT_MSG_NEWCHAIN || typ == unix.NFT_MSG_DELCHAIN }

// parseElement reads one element whose key is an address.
func parseElement(b []byte) (e element, ok bool) {
	for _, a := range attrs(b) {
		switch a.typ {
		case unix.NFTA_SET_ELEM_KEY:
			for _, v := range attrs(a.data) {
				if v.typ == unix.NFTA_DATA_VALUE {
					e.key, ok = netip.AddrFromSlice(v.data)
				}
			}
		case unix.NFTA_SET_ELEM_FLAGS:
			e.end = be32(a.data)&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case unix.NFTA_SET_ELEM_TIMEOUT:
			e.timeout = duration(be64(a.data))
		case unix.NFTA_SET_ELEM_EXPIRATION:
			e.expires = max(duration(be64(a.data)), 1) // less than a millisecond is not permanent
		}
	}
	return e, ok
}

// duration reads milliseconds; what does not fit is as good as forever.
func duration(ms uint64) time.Duration {
	const most = uint64(1<<63-1) / uint64(time.Millisecond)
	return time.Duration(min(ms, most)) * time.Millisecond
}
