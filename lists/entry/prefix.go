package entry

import (
	"math/bits"
	"net/netip"
	"strings"
)

// ParsePrefix parses an address or a prefix, and returns it masked. Addresses with a zone
// belong to one link of one machine and are refused.
func ParsePrefix(s string) (netip.Prefix, bool) {
	// Lists are long and mostly names: what ends in no digit is IPv6 or nothing.
	if s == "" || (s[len(s)-1] < '0' || s[len(s)-1] > '9') && strings.IndexByte(s, ':') < 0 {
		return netip.Prefix{}, false
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

// Reasons why a text is no prefix, and two addresses are no range.
const (
	ReasonPrefix = "not a prefix"
	ReasonRange  = "not a range of addresses"
)

// EachPrefix calls add for the fewest prefixes that together cover the addresses from
// first to last. It returns false if these are no range.
func EachPrefix(first, last netip.Addr, add func(netip.Prefix)) bool {
	first, last = first.Unmap(), last.Unmap()
	if !first.IsValid() || first.BitLen() != last.BitLen() || last.Less(first) {
		return false
	}
	for {
		n := first.BitLen() - trailingZeros(first)
		for ; n < first.BitLen() && last.Less(lastAddr(netip.PrefixFrom(first, n))); n++ {
		}
		p := netip.PrefixFrom(first, n)
		add(p)
		end := lastAddr(p)
		if end == last {
			return true
		}
		first = end.Next()
	}
}

// lastAddr returns the last address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As16()
	offset := 128 - p.Addr().BitLen()
	for i := offset + p.Bits(); i < 128; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a := netip.AddrFrom16(b)
	if p.Addr().Is4() {
		a = a.Unmap()
	}
	return a
}

// trailingZeros returns the number of zero bits at the end of an address.
func trailingZeros(a netip.Addr) int {
	b := a.AsSlice()
	n := 0
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return n + bits.TrailingZeros8(b[i])
		}
		n += 8
	}
	return n
}
