package rule

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"github.com/nameroute/nameroute/gateway"
	"golang.org/x/sys/unix"
)

// label is the 128 bits of a connection's label with one of them set, as nft(8) counts them.
func label(bit int) []byte {
	b := make([]byte, 16)
	b[bit/8] = 1 << (bit % 8)
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 { // big-endian
		slices.Reverse(b)
	}
	return b
}

// CtLabel matches connections whose label has the bit.
func CtLabel(bit int) Part {
	none := make([]byte, 16)
	return Part{fmt.Sprintf("ct label %d", bit),
		[]expr.Any{&expr.Ct{Key: expr.CtKeyLABELS, Register: reg}, and(label(bit), none), differ(none)}}
}

// NotCtLabel matches connections whose label has not the bit.
func NotCtLabel(bit int) Part {
	none := make([]byte, 16)
	return Part{fmt.Sprintf("ct label ! %d", bit),
		[]expr.Any{&expr.Ct{Key: expr.CtKeyLABELS, Register: reg}, and(label(bit), none), compare(none)}}
}

// SetCtLabel sets a bit of the connection's label. The kernel clears none
// (nf_connlabels_replace as nft_ct_set_eval calls it), and does nothing for a connection
// that began when no rule set labels.
func SetCtLabel(bit int) Part {
	return Part{fmt.Sprintf("ct label set %d", bit), []expr.Any{
		&expr.Immediate{Register: reg, Data: label(bit)},
		&expr.Ct{Key: expr.CtKeyLABELS, SourceRegister: true, Register: reg}}}
}

// CtNotDNAT matches packets of connections whose destination was not translated.
func CtNotDNAT() Part {
	return Part{"ct status ! dnat", []expr.Any{&expr.Ct{Key: expr.CtKeySTATUS, Register: reg},
		and(native32(1<<5), native32(0)), compare(native32(0))}} // IPS_DST_NAT
}

// CtNone matches packets that conntrack has no connection of.
func CtNone() Part {
	return ctState("invalid,untracked", expr.CtStateBitINVALID|expr.CtStateBitUNTRACKED)
}

// CtUntracked matches packets that conntrack was told not to follow.
func CtUntracked() Part { return ctState("untracked", expr.CtStateBitUNTRACKED) }

// MarkIsExactly matches packets whose mark, in all its bits, is the value.
func MarkIsExactly(value uint32) Part {
	return Part{fmt.Sprintf("meta mark 0x%08x", value), []expr.Any{loadMark(), compare(native32(value))}}
}

// SocketMarkIs matches packets of a socket whose mark, in the mask's bits, is the value.
func SocketMarkIs(m gateway.Mark) Part {
	return Part{fmt.Sprintf("socket mark & 0x%08x == 0x%08x", m.Mask, m.Value),
		[]expr.Any{loadSocketMark(), and(native32(m.Mask), native32(0)), compare(native32(m.Value))}}
}

// SocketMarkIsExactly matches packets of a socket whose mark, in all its bits, is the value.
func SocketMarkIsExactly(value uint32) Part {
	return Part{fmt.Sprintf("socket mark 0x%08x", value), []expr.Any{loadSocketMark(), compare(native32(value))}}
}

func loadSocketMark() expr.Any { return &expr.Socket{Key: expr.SocketKeyMark, Register: reg} }

// NoInput matches packets that came in by no interface, as far as a hook can tell: the box's
// own, and in postrouting those that a bridge forwards by itself.
func NoInput() Part {
	return Part{"iif 0", []expr.Any{&expr.Meta{Key: expr.MetaKeyIIF, Register: reg}, compare(native32(0))}}
}

// Forwarded matches packets that came in by an interface.
func Forwarded() Part {
	return Part{"iif != 0", []expr.Any{&expr.Meta{Key: expr.MetaKeyIIF, Register: reg}, differ(native32(0))}}
}

const metaOIFKIND expr.MetaKey = 27 // NFT_META_OIFKIND

// ByBridge matches packets that leave by a bridge.
func ByBridge() Part {
	return Part{`meta oifkind "bridge"`, []expr.Any{&expr.Meta{Key: metaOIFKIND, Register: reg}, compare(linkName("bridge"))}}
}

// SourceNotLocal matches packets whose source is no address of the box.
func SourceNotLocal() Part {
	return Part{"fib saddr type != local", []expr.Any{
		&expr.Fib{Register: reg, FlagSADDR: true, ResultADDRTYPE: true}, differ(native32(unix.RTN_LOCAL))}}
}

// DestinationLocal matches packets whose destination is an address of the box.
func DestinationLocal() Part {
	return Part{"fib daddr type local", []expr.Any{
		&expr.Fib{Register: reg, FlagDADDR: true, ResultADDRTYPE: true}, compare(native32(unix.RTN_LOCAL))}}
}

// SourceNotOfLink matches packets whose source is no address of the interface that they leave by.
func SourceNotOfLink() Part {
	return Part{"fib saddr . oif type != local", []expr.Any{
		&expr.Fib{Register: reg, FlagSADDR: true, FlagOIF: true, ResultADDRTYPE: true}, differ(native32(unix.RTN_LOCAL))}}
}

// NotSaddr matches packets of the address's family with any other source.
func NotSaddr(a netip.Addr) Part {
	f := gateway.FamilyOf(a)
	return Part{familyWord(f) + " saddr != " + a.String(), append(protocolFamily(f), saddr(f), differ(a.AsSlice()))}
}

// NotICMPv6 matches packets of any other protocol.
func NotICMPv6() Part {
	return Part{"meta l4proto != ipv6-icmp", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, differ([]byte{unix.IPPROTO_ICMPV6})}}
}

// Share matches at random so many of a number of packets.
func Share(part, of int) Part {
	return Part{fmt.Sprintf("numgen random mod %d < %d", of, part), []expr.Any{
		&expr.Numgen{Register: reg, Modulus: uint32(of), Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 4, Size: 4}, // Lt compares bytes
		&expr.Cmp{Op: expr.CmpOpLt, Register: reg, Data: binary.BigEndian.AppendUint32(nil, uint32(part))}}}
}

// Goto goes on in another chain of the table, at whose end the base chain's policy holds.
func Goto(chain string) Part {
	return Part{"goto " + chain, []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}
}
