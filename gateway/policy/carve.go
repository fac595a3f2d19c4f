package policy

import (
	"net/netip"
	"slices"
	"sort"

	"github.com/nameroute/nameroute/gateway/pkg/prefixes"
)

// carve returns prefixes that cover the local networks, without the more specific kernel
// routes of table main that are not local, and without overlaps.
func carve(local map[netip.Prefix]candidate, outside []hole) []netip.Prefix {
	tops := make([]netip.Prefix, 0, len(local))
	for p := range local {
		tops = append(tops, p)
	}
	tops = prefixes.Outermost(tops)
	holes := make([]netip.Prefix, 0)
	for _, o := range outside {
		i := sort.Search(len(tops), func(i int) bool { return o.prefix.Addr().Less(tops[i].Addr()) }) - 1
		if i < 0 || !prefixes.Covers(tops[i], o.prefix) {
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
		out = append(out, prefixes.Without([]netip.Prefix{p}, slices.DeleteFunc(inside, func(h netip.Prefix) bool { return !prefixes.Covers(p, h) }))...)
	}
	return prefixes.Outermost(out)
}
