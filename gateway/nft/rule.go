package nft

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/nameroute/nameroute/gateway"
	"golang.org/x/sys/unix"
)

// rule is one nft rule: its parts in order, and what it is for.
type rule struct {
	comment string
	parts   []part
	carry   bool // what its counter has counted goes on when a rule of the same meaning replaces it
}

// part is one statement of a rule, as nft(8) prints it and as the kernel takes it.
type part struct {
	text  string
	exprs []expr.Any
}

// newRule puts parts into a rule. The comment is shown by nft list.
func newRule(comment string, parts ...part) rule { return rule{comment: comment, parts: parts} }

func (r rule) String() string {
	words := make([]string, 0, len(r.parts)+1)
	for _, p := range r.parts {
		words = append(words, p.text)
	}
	return strings.Join(append(words, fmt.Sprintf("comment %q", r.comment)), " ")
}

// reg is the only register that is needed: NFT_REG_1, 16 bytes wide.
const reg = 1

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func big16(v uint16) []byte    { return binary.BigEndian.AppendUint16(nil, v) }

func compare(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }
func differ(data []byte) expr.Any  { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: data} }

// and computes register & mask ^ xor.
func and(mask, xor []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(len(mask)), Mask: mask, Xor: xor}
}

// linkName is an interface name as the kernel compares it, padded to IFNAMSIZ.
func linkName(name string) []byte {
	return append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)
}

func iifname(link string) part {
	return part{fmt.Sprintf("iifname %q", link),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, compare(linkName(link))}}
}

func oifname(link string) part {
	return part{fmt.Sprintf("oifname %q", link),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg}, compare(linkName(link))}}
}

// notOifname is used several times in a rule instead of an anonymous set: those get
// names from the kernel and could not be compared with what is wanted.
func notOifname(link string) part {
	return part{fmt.Sprintf("oifname != %q", link),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg}, differ(linkName(link))}}
}

func nfproto(f gateway.Family) part {
	name := map[gateway.Family]string{gateway.V4: "ipv4", gateway.V6: "ipv6"}[f]
	return part{"meta nfproto " + name, protocolFamily(f)}
}

// protocolFamily limits a rule of an inet table to one family.
func protocolFamily(f gateway.Family) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg}, compare([]byte{nfFamily(f)})}
}

func nfFamily(f gateway.Family) byte {
	if f == gateway.V4 {
		return unix.NFPROTO_IPV4
	}
	return unix.NFPROTO_IPV6
}

func familyWord(f gateway.Family) string {
	if f == gateway.V4 {
		return "ip"
	}
	return "ip6"
}

// daddr loads the packet's destination.
func daddr(f gateway.Family) *expr.Payload {
	offset, length := uint32(16), uint32(4) // RFC 791 3.1
	if f == gateway.V6 {
		offset, length = 24, 16 // RFC 8200 3
	}
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

// saddrIn matches sources in a set of one family.
func saddrIn(f gateway.Family, set string) part {
	load := daddr(f)
	load.Offset -= load.Len // the two addresses stand side by side
	return part{familyWord(f) + " saddr @" + set, append(protocolFamily(f), load, &expr.Lookup{SourceRegister: reg, SetName: set})}
}

// daddrIn matches destinations in all of the sets, which are of one family.
func daddrIn(f gateway.Family, sets ...string) part {
	p := part{exprs: protocolFamily(f)}
	for i, name := range sets {
		if i > 0 {
			p.text += " "
		}
		p.text += familyWord(f) + " daddr @" + name
		p.exprs = append(p.exprs, daddr(f), &expr.Lookup{SourceRegister: reg, SetName: name})
	}
	return p
}

func daddrIs(a netip.Addr) part {
	f := gateway.FamilyOf(a)
	return part{familyWord(f) + " daddr " + a.String(), append(protocolFamily(f), daddr(f), compare(a.AsSlice()))}
}

func ctState(text string, bits uint32) part {
	return part{"ct state " + text, []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		and(native32(bits), native32(0)), differ(native32(0))}}
}

func ctNew() part     { return ctState("new", expr.CtStateBitNEW) }
func ctInvalid() part { return ctState("invalid", expr.CtStateBitINVALID) }
func ctRelated() part { return ctState("related", expr.CtStateBitRELATED) }
func ctEstablished() part {
	return ctState("established,related", expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

func ctOriginal() part { return ctDirection("original", 0) } // IP_CT_DIR_ORIGINAL
func ctReply() part    { return ctDirection("reply", 1) }    // IP_CT_DIR_REPLY

func ctDirection(name string, number byte) part {
	return part{"ct direction " + name, []expr.Any{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg}, compare([]byte{number})}}
}

func loadMark() expr.Any   { return &expr.Meta{Key: expr.MetaKeyMARK, Register: reg} }
func loadCtMark() expr.Any { return &expr.Ct{Key: expr.CtKeyMARK, Register: reg} }

func markIs(m gateway.Mark) part {
	return part{fmt.Sprintf("meta mark & 0x%08x == 0x%08x", m.Mask, m.Value),
		[]expr.Any{loadMark(), and(native32(m.Mask), native32(0)), compare(native32(m.Value))}}
}

func markIsSet(mask uint32) part {
	return part{fmt.Sprintf("meta mark & 0x%08x != 0x00000000", mask),
		[]expr.Any{loadMark(), and(native32(mask), native32(0)), differ(native32(0))}}
}

func ctMarkIs(m gateway.Mark) part {
	return part{fmt.Sprintf("ct mark & 0x%08x == 0x%08x", m.Mask, m.Value),
		[]expr.Any{loadCtMark(), and(native32(m.Mask), native32(0)), compare(native32(m.Value))}}
}

// merged computes old & ~mask ^ value: no bit outside the mask changes.
func merged(m gateway.Mark) expr.Any { return and(native32(^m.Mask), native32(m.Value)) }

// mergedText is how nft prints it: it shows the bits of the value in the mask, too,
// and no mask of all ones.
func mergedText(what string, m gateway.Mark) string {
	if m.Value == 0 {
		return fmt.Sprintf("%s set %s & 0x%08x", what, what, ^m.Mask)
	}
	if ^m.Mask|m.Value == math.MaxUint32 {
		return fmt.Sprintf("%s set %s | 0x%08x", what, what, m.Value)
	}
	return fmt.Sprintf("%s set %s & 0x%08x | 0x%08x", what, what, ^m.Mask|m.Value, m.Value)
}

func setMark(m gateway.Mark) part {
	return part{mergedText("meta mark", m), []expr.Any{loadMark(), merged(m),
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg}}}
}

func setCtMark(m gateway.Mark) part {
	return part{mergedText("ct mark", m), []expr.Any{loadCtMark(), merged(m),
		&expr.Ct{Key: expr.CtKeyMARK, SourceRegister: true, Register: reg}}}
}

func accept() part { return part{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}} }
func drop() part   { return part{"drop", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}} }
func count() part  { return part{"counter packets 0 bytes 0", []expr.Any{&expr.Counter{}}} }
func jump(chain string) part {
	return part{"jump " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}}
}

func snat(a netip.Addr) part {
	f := gateway.FamilyOf(a)
	return part{"snat " + familyWord(f) + " to " + a.String(), []expr.Any{
		&expr.Immediate{Register: reg, Data: a.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(nfFamily(f)), RegAddrMin: reg, RegAddrMax: reg}}}
}

func masquerade() part { return part{"masquerade", []expr.Any{&expr.Masq{}}} }

func l4proto(proto byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, compare([]byte{proto})}
}

// tcpSYN matches the packets that open a connection, both ways: SYN without RST.
func tcpSYN() part { return part{"tcp flags syn / syn,rst", tcpFlags(0x02, 0x02|0x04)} }

// tcpOpens matches the first packet of a connection: SYN without ACK.
func tcpOpens() part { return part{"tcp flags syn / syn,ack", tcpFlags(0x02, 0x02|0x10)} }

func tcpFlags(set, of byte) []expr.Any {
	return append(l4proto(unix.IPPROTO_TCP),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1}, // RFC 9293 3.1
		and([]byte{of}, []byte{0}), compare([]byte{set}))
}

// maxSegment lowers the MSS option; the kernel never raises it (nft_exthdr_tcp_set_eval).
func maxSegment(size uint16) part {
	return part{fmt.Sprintf("tcp option maxseg size set %d", size), []expr.Any{
		&expr.Immediate{Register: reg, Data: big16(size)},
		&expr.Exthdr{SourceRegister: reg, Type: 2, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt}}} // RFC 9293 3.2
}

func dport(proto string, port uint16) part {
	number := map[string]byte{"udp": unix.IPPROTO_UDP, "tcp": unix.IPPROTO_TCP}[proto]
	return part{fmt.Sprintf("%s dport %d", proto, port), append(l4proto(number),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, compare(big16(port)))}
}
