package rule

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/nameroute/nameroute/gateway"
	"golang.org/x/sys/unix"
)

// Iifname matches packets that came in by an interface.
func Iifname(link string) Part {
	return Part{fmt.Sprintf("iifname %q", link),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, compare(linkName(link))}}
}

// Iifgroup matches packets that came in by an interface of a group.
func Iifgroup(group uint32) Part {
	return Part{fmt.Sprintf("iifgroup %d", group),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyIIFGROUP, Register: reg}, compare(binary.NativeEndian.AppendUint32(nil, group))}}
}

// Oifname matches packets that leave by an interface.
func Oifname(link string) Part {
	return Part{fmt.Sprintf("oifname %q", link),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg}, compare(linkName(link))}}
}

// NotOifname matches packets that leave by any other interface. A rule uses it several
// times instead of an anonymous set: the kernel names those, so that they cannot be
// compared with what is wanted.
func NotOifname(link string) Part {
	return Part{fmt.Sprintf("oifname != %q", link),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg}, differ(linkName(link))}}
}

// NotIifname matches packets that came in by any other interface, and the box's own.
func NotIifname(link string) Part {
	return Part{fmt.Sprintf("iifname != %q", link),
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, differ(linkName(link))}}
}

// NFProto matches packets of an address family.
func NFProto(f gateway.Family) Part {
	name := map[gateway.Family]string{gateway.V4: "ipv4", gateway.V6: "ipv6"}[f]
	return Part{"meta nfproto " + name, protocolFamily(f)}
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

// saddr loads the packet's source, which precedes the destination in both headers.
func saddr(f gateway.Family) *expr.Payload {
	load := daddr(f)
	load.Offset -= load.Len
	return load
}

// SaddrIn matches sources in a set of one family.
func SaddrIn(f gateway.Family, set string) Part {
	return Part{familyWord(f) + " saddr @" + set, append(protocolFamily(f), saddr(f), &expr.Lookup{SourceRegister: reg, SetName: set})}
}

// DaddrIn matches destinations that are in all of the sets, which are of one family.
func DaddrIn(f gateway.Family, sets ...string) Part {
	p := Part{Exprs: protocolFamily(f)}
	for i, name := range sets {
		if i > 0 {
			p.Text += " "
		}
		p.Text += familyWord(f) + " daddr @" + name
		p.Exprs = append(p.Exprs, daddr(f), &expr.Lookup{SourceRegister: reg, SetName: name})
	}
	return p
}

// DaddrIs matches one destination.
func DaddrIs(a netip.Addr) Part {
	f := gateway.FamilyOf(a)
	return Part{familyWord(f) + " daddr " + a.String(), append(protocolFamily(f), daddr(f), compare(a.AsSlice()))}
}

func ctState(text string, bits uint32) Part {
	return Part{"ct state " + text, []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		and(native32(bits), native32(0)), differ(native32(0))}}
}

// CtNew matches the first packet of a connection.
func CtNew() Part { return ctState("new", expr.CtStateBitNEW) }

// CtInvalid matches packets that belong to no connection and open none.
func CtInvalid() Part { return ctState("invalid", expr.CtStateBitINVALID) }

// CtInvalidOrNew matches packets that belong to no connection: a segment from the middle
// of one makes a new one of it (nf_conntrack_tcp_loose), or none.
func CtInvalidOrNew() Part { return ctState("invalid,new", expr.CtStateBitNEW|expr.CtStateBitINVALID) }

// CtNotOpened matches packets of no connection that is known already.
func CtNotOpened() Part {
	return ctState("invalid,new,untracked", expr.CtStateBitNEW|expr.CtStateBitINVALID|expr.CtStateBitUNTRACKED)
}

// CtRelated matches packets about another connection, such as ICMP errors.
func CtRelated() Part { return ctState("related", expr.CtStateBitRELATED) }

// CtEstablished matches packets of, or about, a connection that has seen a reply.
func CtEstablished() Part {
	return ctState("established,related", expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

// CtOriginal matches packets in the direction in which their connection was opened.
func CtOriginal() Part { return ctDirection("original", 0) } // IP_CT_DIR_ORIGINAL

// CtReply matches packets in the other direction.
func CtReply() Part { return ctDirection("reply", 1) } // IP_CT_DIR_REPLY

func ctDirection(name string, number byte) Part {
	return Part{"ct direction " + name, []expr.Any{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: reg}, compare([]byte{number})}}
}

func loadMark() expr.Any   { return &expr.Meta{Key: expr.MetaKeyMARK, Register: reg} }
func loadCtMark() expr.Any { return &expr.Ct{Key: expr.CtKeyMARK, Register: reg} }

// MarkIs matches packets whose mark, in the mask's bits, is the value.
func MarkIs(m gateway.Mark) Part {
	return Part{fmt.Sprintf("meta mark & 0x%08x == 0x%08x", m.Mask, m.Value),
		[]expr.Any{loadMark(), and(native32(m.Mask), native32(0)), compare(native32(m.Value))}}
}

// MarkIsSet matches packets whose mark has any of the mask's bits.
func MarkIsSet(mask uint32) Part {
	return Part{fmt.Sprintf("meta mark & 0x%08x != 0x00000000", mask),
		[]expr.Any{loadMark(), and(native32(mask), native32(0)), differ(native32(0))}}
}

// CtMarkIs matches connections whose mark, in the mask's bits, is the value.
func CtMarkIs(m gateway.Mark) Part {
	return Part{fmt.Sprintf("ct mark & 0x%08x == 0x%08x", m.Mask, m.Value),
		[]expr.Any{loadCtMark(), and(native32(m.Mask), native32(0)), compare(native32(m.Value))}}
}

// CtMarkIsSet matches connections whose mark has any of the mask's bits.
func CtMarkIsSet(mask uint32) Part {
	return Part{fmt.Sprintf("ct mark & 0x%08x != 0x00000000", mask),
		[]expr.Any{loadCtMark(), and(native32(mask), native32(0)), differ(native32(0))}}
}

// merged computes old & ~mask ^ value: no bit outside the mask changes.
func merged(m gateway.Mark) expr.Any { return and(native32(^m.Mask), native32(m.Value)) }

// mergedText is how nft(8) prints merged: it shows the bits of the value in the mask,
// too, and no mask of all ones.
func mergedText(what string, m gateway.Mark) string {
	if m.Value == 0 {
		return fmt.Sprintf("%s set %s & 0x%08x", what, what, ^m.Mask)
	}
	if ^m.Mask|m.Value == math.MaxUint32 {
		return fmt.Sprintf("%s set %s | 0x%08x", what, what, m.Value)
	}
	return fmt.Sprintf("%s set %s & 0x%08x | 0x%08x", what, what, ^m.Mask|m.Value, m.Value)
}

// SetMark writes the mask's bits of the packet's mark, and no others.
func SetMark(m gateway.Mark) Part {
	return Part{mergedText("meta mark", m), []expr.Any{loadMark(), merged(m),
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg}}}
}

// SetCtMark writes the mask's bits of the connection's mark, and no others.
func SetCtMark(m gateway.Mark) Part {
	return Part{mergedText("ct mark", m), []expr.Any{loadCtMark(), merged(m),
		&expr.Ct{Key: expr.CtKeyMARK, SourceRegister: true, Register: reg}}}
}

// Accept ends the evaluation of the base chain.
func Accept() Part { return Part{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}} }

// Drop drops the packet.
func Drop() Part { return Part{"drop", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}} }

// Return goes back to the chain that jumped here.
func Return() Part { return Part{"return", []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}}} }

// Jump goes on in another chain of the table, and comes back at its end.
func Jump(chain string) Part {
	return Part{"jump " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}}
}

// Count counts packets and bytes.
func Count() Part { return Part{"counter packets 0 bytes 0", []expr.Any{&expr.Counter{}}} }

// SNAT translates the source to an address.
func SNAT(a netip.Addr) Part {
	f := gateway.FamilyOf(a)
	return Part{"snat " + familyWord(f) + " to " + a.String(), []expr.Any{
		&expr.Immediate{Register: reg, Data: a.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(nfFamily(f)), RegAddrMin: reg, RegAddrMax: reg}}}
}

// Masquerade translates the source to the outgoing interface's address of the moment.
func Masquerade() Part { return Part{"masquerade", []expr.Any{&expr.Masq{}}} }

// Redirect translates the destination to a port of the box, at the address of the
// interface that the packet came in by.
func Redirect(port uint16) Part {
	return Part{fmt.Sprintf("redirect to :%d", port), []expr.Any{
		&expr.Immediate{Register: reg, Data: big16(port)}, &expr.Redir{RegisterProtoMin: reg, RegisterProtoMax: reg}}}
}

// DNAT translates the destination to an address and port.
func DNAT(to netip.AddrPort) Part {
	f := gateway.FamilyOf(to.Addr())
	return Part{fmt.Sprintf("dnat %s to %s", familyWord(f), to), []expr.Any{
		&expr.Immediate{Register: reg, Data: to.Addr().AsSlice()}, &expr.Immediate{Register: reg + 1, Data: big16(to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(nfFamily(f)), RegAddrMin: reg, RegAddrMax: reg, RegProtoMin: reg + 1, RegProtoMax: reg + 1}}}
}

// RejectTCPReset answers with a TCP reset.
func RejectTCPReset() Part {
	return Part{"reject with tcp reset", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
}

// RejectPort answers with the port unreachable of the packet's family's ICMP; nft(8)
// prints nothing more of it.
func RejectPort() Part {
	return Part{"reject", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}}
}

var protoNumbers = map[string]byte{"udp": unix.IPPROTO_UDP, "tcp": unix.IPPROTO_TCP}

func l4proto(proto string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, compare([]byte{protoNumbers[proto]})}
}

// L4Proto matches a transport protocol, udp or tcp, of either family.
func L4Proto(proto string) Part { return Part{"meta l4proto " + proto, l4proto(proto)} }

// L4ProtoOf matches a transport protocol of one family.
func L4ProtoOf(f gateway.Family, proto string) Part {
	family := NFProto(f)
	return Part{family.Text + " meta l4proto " + proto, slices.Concat(family.Exprs, l4proto(proto))}
}

// Dport matches a transport protocol, udp or tcp, and its destination port.
func Dport(proto string, port uint16) Part {
	return Part{fmt.Sprintf("%s dport %d", proto, port), append(l4proto(proto),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, compare(big16(port)))}
}

// UDPPorts matches UDP from one port to another.
func UDPPorts(from, to uint16) Part {
	port := func(offset uint32, port uint16) []expr.Any {
		return []expr.Any{&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}, compare(big16(port))}
	}
	return Part{fmt.Sprintf("udp sport %d udp dport %d", from, to), slices.Concat(l4proto("udp"), port(0, from), port(2, to))}
}

// TCPSYN matches the packets that open a connection, in both directions: SYN without RST.
func TCPSYN() Part { return Part{"tcp flags syn / syn,rst", tcpFlags(0x02, 0x02|0x04)} }

// TCPOpens matches the first packet of a connection: SYN without ACK.
func TCPOpens() Part { return Part{"tcp flags syn / syn,ack", tcpFlags(0x02, 0x02|0x10)} }

func tcpFlags(set, of byte) []expr.Any {
	return append(l4proto("tcp"),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1}, // RFC 9293 3.1
		and([]byte{of}, []byte{0}), compare([]byte{set}))
}

// MaxSegment lowers the MSS option; the kernel never raises it (nft_exthdr_tcp_set_eval).
func MaxSegment(size uint16) Part {
	return Part{fmt.Sprintf("tcp option maxseg size set %d", size), []expr.Any{
		&expr.Immediate{Register: reg, Data: big16(size)},
		&expr.Exthdr{SourceRegister: reg, Type: 2, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt}}} // RFC 9293 3.2
}
