package policy

import (
	"net/netip"
	"slices"
	"sort"
)

// carve returns prefixes that cover the local networks, without the more specific kernel
// routes of table main that are not local, and without overlaps.
func carve(local map[netip.Prefix]candidate, outside []hole) []netip.Prefix {
	tops := make([]netip.Prefix, 0, len(local))
	for p := range local {
		tops = append(tops, p)
	}
	tops = withoutCovered(tops)
	holes := make([]netip.Prefix, 0)
	for _, o := range outside {
		i := sort.Search(len(tops), func(i int) bool { return o.prefix.Addr().Less(tops[i].Addr()) }) - 1
		if i < 0 || !covers(tops[i], o.prefix) {
			continue
		}
		if same, ok := local[o.prefix]; ok {
			if same.metric <= o.metric {
				continue
			}
			delete(local, o.prefix) // the kernel prefers the other one
		}
		holes = append(holes, o.prefix)
	}
	if len(holes) == 0 {
		return tops
	}
	var out []netip.Prefix
	for p := range local {
		inside := slices.Clone(holes)
		out = append(out, subtract(p, slices.DeleteFunc(inside, func(h netip.Prefix) bool { return !covers(p, h) }))...)
	}
	return withoutCovered(out)
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
	for _, half := range bisect(p) {
		inside := slices.DeleteFunc(slices.Clone(holes), func(h netip.Prefix) bool { return !covers(half, h) })
		out = append(out, subtract(half, inside)...)
	}
	return out
}

func bisect(p netip.Prefix) [2]netip.Prefix {
	high := p.Addr().AsSlice()
	high[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	above, _ := netip.AddrFromSlice(high)
	return [2]netip.Prefix{netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(above, p.Bits()+1)}
}

// withoutCovered sorts prefixes and drops those that another one covers.
func withoutCovered(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, netip.Prefix.Compare)
	out := list[:0]
	for _, p := range list {
		if len(out) == 0 || !covers(out[len(out)-1], p) {
			out = append(out, p)
		}
	}
	return out
}

func covers(p, q netip.Prefix) bool { return p.Bits() <= q.Bits() && p.Contains(q.Addr()) }
