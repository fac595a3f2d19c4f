//go:build linux

// Package wire reads packets: taps record all that a link of a namespace carries, filters
// choose from it.
package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// Direction of a packet, seen from the namespace that the tapped link is in.
type Direction bool

const (
	In  Direction = false // received by the namespace
	Out Direction = true  // sent by it
)

// Packet is one IP packet as a tap saw it. TCP segments that the kernel sends as
// one (GSO) are one packet.
type Packet struct {
	When      time.Time
	Direction Direction
	Family    int            // 4 or 6
	Proto     int            // IP protocol: unix.IPPROTO_TCP, ...
	Src, Dst  netip.AddrPort // port 0 where there is none: ICMP, later fragments
	Length    int            // bytes, IP header included
	Data      []byte         // from the IP header on, at most snapLength bytes

	payload int // where in Data the transport header begins
}

// String prints the packet in one line, for messages.
func (p Packet) String() string {
	proto := map[int]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp",
		unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_ICMPV6: "icmpv6"}[p.Proto]
	if proto == "" {
		proto = fmt.Sprintf("proto %d", p.Proto)
	}
	text := fmt.Sprintf("%s %s %s > %s, %d bytes", p.When.Format("15:04:05.000000"), proto, p.Src, p.Dst, p.Length)
	if q := p.Question(); q != "" {
		text += ", asks " + q
	}
	return text
}

// parsePacket reads an IP packet, of which data may be only the beginning. It
// reports false for what is not IP.
func parsePacket(data []byte) (Packet, bool) {
	p := Packet{Data: data}
	var src, dst netip.Addr
	var proto, at int
	var later bool // a later fragment, which has no ports
	switch {
	case len(data) >= 20 && data[0]>>4 == 4:
		p.Family, proto, at = 4, int(data[9]), int(data[0]&15)*4
		src, dst = netip.AddrFrom4([4]byte(data[12:])), netip.AddrFrom4([4]byte(data[16:]))
		later = binary.BigEndian.Uint16(data[6:])&0x1fff != 0
	case len(data) >= 40 && data[0]>>4 == 6:
		p.Family = 6
		src, dst = netip.AddrFrom16([16]byte(data[8:])), netip.AddrFrom16([16]byte(data[24:]))
		proto, at, later = skipExtensions(data)
	default:
		return Packet{}, false
	}
	p.Proto, p.payload = proto, min(at, len(data))
	var from, to uint16
	if ports := data[p.payload:]; !later && len(ports) >= 4 && (proto == unix.IPPROTO_TCP || proto == unix.IPPROTO_UDP) {
		from, to = binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[2:])
	}
	p.Src, p.Dst = netip.AddrPortFrom(src, from), netip.AddrPortFrom(dst, to)
	return p, true
}

// skipExtensions walks the extension headers of an IPv6 packet (RFC 8200, 4).
func skipExtensions(data []byte) (proto, at int, later bool) {
	proto, at = int(data[6]), 40
	for len(data) >= at+8 {
		switch proto {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS:
			proto, at = int(data[at]), at+int(data[at+1])*8+8
		case unix.IPPROTO_FRAGMENT:
			later = later || binary.BigEndian.Uint16(data[at+2:])&^7 != 0
			proto, at = int(data[at]), at+8
		default:
			return proto, at, later
		}
	}
	return proto, at, later
}

// Payload is what follows the UDP or TCP header, as far as the tap kept it.
func (p Packet) Payload() []byte {
	rest := p.Data[p.payload:]
	skip := len(rest)
	switch {
	case p.Proto == unix.IPPROTO_UDP:
		skip = 8
	case p.Proto == unix.IPPROTO_TCP && len(rest) > 12:
		skip = int(rest[12]>>4) * 4
	}
	return rest[min(skip, len(rest)):]
}

// Question is the lower-case name, without the last dot, that a DNS message over
// UDP is about; empty where the packet is none.
func (p Packet) Question() string {
	if p.Proto != unix.IPPROTO_UDP || (p.Dst.Port() != 53 && p.Src.Port() != 53) || len(p.Payload()) < 12 {
		return ""
	}
	name, _, err := dns.UnpackDomainName(p.Payload(), 12)
	if err != nil {
		return ""
	}
	return Canonical(name)
}

// SYN reports whether the packet opens a TCP connection (the first SYN or its answer).
func (p Packet) SYN() bool {
	rest := p.Data[p.payload:]
	return p.Proto == unix.IPPROTO_TCP && len(rest) > 13 && rest[13]&2 != 0
}

// MSS is the maximum segment size that a SYN announces, 0 where it announces none.
func (p Packet) MSS() int {
	if !p.SYN() {
		return 0
	}
	rest := p.Data[p.payload:]
	start := min(20, len(rest))
	options := rest[start:max(start, min(int(rest[12]>>4)*4, len(rest)))] // the length may be wrong
	for len(options) >= 2 && options[0] != 0 {
		switch length := int(options[1]); {
		case options[0] == 1: // no-operation has no length
			options = options[1:]
		case options[0] == 2 && len(options) >= 4:
			return int(binary.BigEndian.Uint16(options[2:]))
		case length < 2 || length > len(options):
			return 0
		default:
			options = options[length:]
		}
	}
	return 0
}

// Filter chooses packets.
type Filter func(Packet) bool

// To chooses packets to one of these addresses.
func To(addrs ...netip.Addr) Filter {
	return func(p Packet) bool { return slices.Contains(addrs, p.Dst.Addr()) }
}

// From chooses packets from one of these addresses.
func From(addrs ...netip.Addr) Filter {
	return func(p Packet) bool { return slices.Contains(addrs, p.Src.Addr()) }
}

// ToPort chooses TCP and UDP packets to one of these ports.
func ToPort(ports ...uint16) Filter {
	return func(p Packet) bool { return slices.Contains(ports, p.Dst.Port()) }
}

// ToPrefix chooses packets to an address in one of these prefixes.
func ToPrefix(prefixes ...netip.Prefix) Filter {
	return func(p Packet) bool {
		return slices.ContainsFunc(prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(p.Dst.Addr()) })
	}
}

// Proto chooses packets of an IP protocol (unix.IPPROTO_TCP and so on).
func Proto(proto int) Filter { return func(p Packet) bool { return p.Proto == proto } }

// Family chooses IPv4 (4) or IPv6 (6).
func Family(family int) Filter { return func(p Packet) bool { return p.Family == family } }

// Went chooses a direction.
func Went(d Direction) Filter { return func(p Packet) bool { return p.Direction == d } }

// Not turns a filter round.
func Not(f Filter) Filter { return func(p Packet) bool { return !f(p) } }

// Asks chooses DNS queries and answers, in the clear over UDP, about a name or
// what is below it.
func Asks(name string) Filter {
	name = Canonical(name)
	return func(p Packet) bool {
		q := p.Question()
		return q != "" && (q == name || strings.HasSuffix(q, "."+name))
	}
}

// Passes reports whether all filters choose the packet.
func (p Packet) Passes(filters ...Filter) bool {
	for _, f := range filters {
		if !f(p) {
			return false
		}
	}
	return true
}

// Canonical is the form in which names are compared and shown: lower case, without
// the last dot.
func Canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
