package lists

import (
	"math/bits"
	"net/netip"
)

// eachPrefix calls add for the fewest prefixes that together are the addresses from
// first to last; false says that these are no range.
func eachPrefix(first, last netip.Addr, add func(netip.Prefix)) bool {
	first, last = first.Unmap(), last.Unmap()
	if !first.IsValid() || first.BitLen() != last.BitLen() || last.Less(first) {
		return false
	}
	for {
		n := first.BitLen() - trailingZeros(first)
		for ; n < first.BitLen() && last.Less(lastOf(netip.PrefixFrom(first, n))); n++ {
		}
		p := netip.PrefixFrom(first, n)
		add(p)
		end := lastOf(p)
		if end == last {
			return true
		}
		first = end.Next()
	}
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
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

// trailingZeros counts the zero bits at the end of an address.
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
