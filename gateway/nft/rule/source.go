package rule

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// EtherSaddr matches the source address on the link, of packets that come in by Ethernet.
func EtherSaddr(mac [6]byte) Part {
	return Part{"meta iiftype ether ether saddr " + net.HardwareAddr(mac[:]).String(), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFTYPE, Register: reg}, compare(binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_ETHER)),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6}, compare(mac[:]),
	}}
}

// PortsOf matches a protocol by its number, and destination ports from one to another; none
// where both are 0.
func PortsOf(protocol uint8, from, to uint16) Part {
	name := gateway.ProtocolName(protocol)
	exprs := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, compare([]byte{protocol})}
	if to == 0 {
		return Part{"meta l4proto " + name, exprs}
	}
	if protocol != gateway.ProtoTCP && protocol != gateway.ProtoUDP {
		name = "meta l4proto " + name + " th"
	}
	text := name + " dport " + gateway.PortRange{From: from, To: to}.String()
	exprs = append(exprs, &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2})
	if from == to {
		return Part{text, append(exprs, compare(big16(from)))}
	}
	return Part{text, append(exprs,
		&expr.Cmp{Op: expr.CmpOpGte, Register: reg, Data: big16(from)}, &expr.Cmp{Op: expr.CmpOpLte, Register: reg, Data: big16(to)})}
}

// SaddrWithin matches sources in a prefix.
func SaddrWithin(p netip.Prefix) Part {
	f := gateway.FamilyOf(p.Addr())
	ones, addr := net.CIDRMask(p.Bits(), p.Addr().BitLen()), p.Masked().Addr().AsSlice()
	text := p.String()
	if p.IsSingleIP() {
		text = p.Addr().String()
	}
	return Part{familyWord(f) + " saddr " + text, append(protocolFamily(f), saddr(f),
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(len(ones)), Mask: ones, Xor: make([]byte, len(ones))}, compare(addr))}
}

// SkUID matches packets of sockets that a user has opened.
func SkUID(uid uint32) Part {
	return Part{fmt.Sprintf("meta skuid %d", uid), []expr.Any{&expr.Meta{Key: expr.MetaKeySKUID, Register: reg}, compare(native32(uid))}}
}

// SkGID matches packets of sockets that a process with a primary group has opened.
func SkGID(gid uint32) Part {
	return Part{fmt.Sprintf("meta skgid %d", gid), []expr.Any{&expr.Meta{Key: expr.MetaKeySKGID, Register: reg}, compare(native32(gid))}}
}

// SocketCgroup matches packets of sockets that were opened in a cgroup or below it.
func SocketCgroup(g gateway.Cgroup) Part {
	return Part{fmt.Sprintf("socket cgroupv2 level %d %q", g.Level, g.Path), []expr.Any{
		&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: uint32(g.Level), Register: reg}, compare(binary.NativeEndian.AppendUint64(nil, g.ID))}}
}
