// Package prefixes calculates with address prefixes.
package prefixes

import (
	"net/netip"
	"slices"
)

// Without returns what is left of some prefixes without others.
func Without(from, others []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range from {
		if slices.ContainsFunc(others, func(o netip.Prefix) bool { return Covers(o, p) }) {
			continue
		}
		out = append(out, subtract(p, slices.DeleteFunc(slices.Clone(others), func(o netip.Prefix) bool { return !Covers(p, o) }))...)
	}
	return Outermost(out)
}

// subtract returns the part of a prefix that is in none of the holes.
func subtract(p netip.Prefix, holes []netip.Prefix) []netip.Prefix {
	switch {
	case len(holes) == 0:
		return []netip.Prefix{p}
	case slices.Contains(holes, p):
		return nil
	}
	var out []netip.Prefix
	for _, part := range Bisect(p) {
		inside := slices.DeleteFunc(slices.Clone(holes), func(h netip.Prefix) bool { return !Covers(part, h) })
		out = append(out, subtract(part, inside)...)
	}
	return out
}

// Bisect returns both parts of a prefix that is not a single address.
func Bisect(p netip.Prefix) [2]netip.Prefix {
	high := p.Addr().AsSlice()
	high[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	above, _ := netip.AddrFromSlice(high)
	return [2]netip.Prefix{netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(above, p.Bits()+1)}
}

// Outermost sorts prefixes and drops those that another one covers.
func Outermost(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, netip.Prefix.Compare)
	out := list[:0]
	for _, p := range list {
		if len(out) == 0 || !Covers(out[len(out)-1], p) {
			out = append(out, p)
		}
	}
	return out
}

// Covers reports whether a prefix contains another one, or is the same.
func Covers(p, q netip.Prefix) bool { return p.Bits() <= q.Bits() && p.Contains(q.Addr()) }
