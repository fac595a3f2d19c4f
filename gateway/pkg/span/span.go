// Package span joins prefixes into ranges of addresses.
package span

import (
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
)

// Range is a run of addresses of one family, both ends included.
type Range struct {
	From, To netip.Addr
}

// Merge joins prefixes into the fewest disjoint ranges of one family, sorted.
// The kernel's interval sets refuse a whole transaction when two elements of it
// overlap (EEXIST), so nothing unmerged is ever sent. Prefixes of the other
// family, and invalid ones, are left out; host bits are ignored. An IPv4-mapped
// prefix stays IPv6: ::ffff:0:0/96 in a list must not become 0.0.0.0/0.
func Merge(prefixes []netip.Prefix, family gateway.Family) []Range {
	ranges := make([]Range, 0, len(prefixes))
	for _, p := range prefixes {
		if !p.IsValid() || p.Addr().Is4() != (family == gateway.V4) {
			continue
		}
		ranges = append(ranges, Range{From: p.Masked().Addr(), To: last(p)})
	}
	slices.SortFunc(ranges, func(a, b Range) int { return a.From.Compare(b.From) })
	return join(ranges)
}

// join merges sorted ranges that overlap or touch, in place.
func join(ranges []Range) []Range {
	merged := ranges[:0]
	for _, r := range ranges {
		if n := len(merged); n > 0 && Touches(merged[n-1], r) {
			if merged[n-1].To.Less(r.To) {
				merged[n-1].To = r.To
			}
			continue
		}
		merged = append(merged, r)
	}
	return slices.Clip(merged)
}

// Touches reports whether b, which does not begin before a, overlaps a or follows
// it without a gap.
func Touches(a, b Range) bool {
	next := a.To.Next()
	return !next.IsValid() || b.From.Compare(next) <= 0
}

// String prints the range as nft(8) does: as an address, a prefix, or both ends.
func (r Range) String() string {
	if r.From == r.To {
		return r.From.String()
	}
	for bits := r.From.BitLen() - 1; bits >= 0; bits-- {
		p := netip.PrefixFrom(r.From, bits)
		if p.Masked().Addr() != r.From {
			break
		}
		if last(p) == r.To {
			return p.String()
		}
	}
	return r.From.String() + "-" + r.To.String()
}

// last is a prefix's highest address.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		switch host := (i+1)*8 - p.Bits(); {
		case host >= 8:
			b[i] = 0xff
		case host > 0:
			b[i] |= 1<<host - 1
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// LastOf is the highest address of an address's family.
func LastOf(a netip.Addr) netip.Addr { return last(netip.PrefixFrom(a, 0)) }

// Within reports whether an address is in one of the ranges that Merge made.
func Within(ranges []Range, a netip.Addr) bool {
	i, found := slices.BinarySearchFunc(ranges, a, func(r Range, a netip.Addr) int { return r.From.Compare(a) })
	return found || i > 0 && a.Compare(ranges[i-1].To) <= 0
}
