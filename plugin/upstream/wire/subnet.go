package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// Subnets is what a resolver is told of where clients are (RFC 7871). The zero value tells
// nothing.
type Subnets struct {
	Keep   bool         // what the client itself says
	V4, V6 netip.Prefix // else these: for all clients the same, so that a cache may have the answers
}

const subnetUsage = "want ecs strip, ecs keep, or a prefix of each family: ecs 198.51.100.0/24 2001:db8::/48"

// ParseSubnets parses `strip`, `keep`, or a prefix of one family or of each.
func ParseSubnets(args []string) (s Subnets, err error) {
	switch {
	case len(args) == 1 && args[0] == "strip":
		return s, nil
	case len(args) == 1 && args[0] == "keep":
		return Subnets{Keep: true}, nil
	case len(args) == 0 || len(args) > 2:
		return s, errors.New(subnetUsage)
	}
	for _, arg := range args {
		p, err := netip.ParsePrefix(arg)
		a := p.Addr()
		of := &s.V6
		if a.Is4() {
			of = &s.V4
		}
		switch {
		case err != nil || a.Is4In6():
			return Subnets{}, fmt.Errorf("%q is not a prefix: %s", arg, subnetUsage)
		case p.Bits() > 0 && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast()):
			return Subnets{}, fmt.Errorf("%s tells no resolver where it is: want a prefix of public addresses", arg)
		case of.IsValid():
			return Subnets{}, fmt.Errorf("%s is the second prefix of its family: %s", arg, subnetUsage)
		}
		*of = p.Masked()
	}
	return s, nil
}

// For returns the subnet that goes with the query of a client's message: that of the family
// that is asked for, where there are both.
func (s Subnets) For(m *dns.Msg) netip.Prefix {
	switch {
	case s.Keep:
		return subnetOf(subnetOption(m))
	case s.V6.IsValid() && (m.Question[0].Qtype == dns.TypeAAAA || !s.V4.IsValid()):
		return s.V6
	}
	return s.V4
}

// subnetOption returns the client subnet option of a message, nil without.
func subnetOption(m *dns.Msg) *dns.EDNS0_SUBNET {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if s, ok := o.(*dns.EDNS0_SUBNET); ok {
				return s
			}
		}
	}
	return nil
}

// subnetOf returns the prefix of an option, the zero value where it has none.
func subnetOf(o *dns.EDNS0_SUBNET) netip.Prefix {
	if o == nil {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(o.Address)
	if a = a.Unmap(); o.Family == 2 && a.Is4() { // ::ffff:0:0/96 has no place in it
		return netip.Prefix{}
	}
	p, err := a.Prefix(int(o.SourceNetmask))
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// appendSubnet appends the option: RFC 7871, section 6.
func appendSubnet(b []byte, p netip.Prefix) []byte {
	family := uint16(1)
	if p.Addr().Is6() {
		family = 2
	}
	addr := p.Masked().Addr().AsSlice()[:(p.Bits()+7)/8]
	b = binary.BigEndian.AppendUint16(b, dns.EDNS0SUBNET)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(addr)))
	b = binary.BigEndian.AppendUint16(b, family)
	b = append(b, byte(p.Bits()), 0) // the scope is the resolver's to say
	return append(b, addr...)
}

// SubnetFits reports whether a reply is one to the subnet that its query had: another one's
// answer is for others (RFC 7871, section 7.3).
func (q Query) SubnetFits(reply *dns.Msg) bool {
	o := subnetOption(reply)
	return o == nil || q.Subnet.IsValid() && subnetOf(o) == q.Subnet
}

// SubnetFor returns the option of a reply, if it repeats that of the client's message: what
// the answer depends on (RFC 7871, section 7.2.1).
func SubnetFor(reply, client *dns.Msg) *dns.EDNS0_SUBNET {
	o, asked := subnetOption(reply), subnetOption(client)
	if p := subnetOf(o); p.IsValid() && p == subnetOf(asked) {
		return o
	}
	return nil
}
