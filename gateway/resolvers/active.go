package resolvers

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// Active are the interfaces that packets of each family leave by now: those of the default
// of the best metric.
type Active struct{ V4, V6 []string }

// Of returns the interfaces of one family.
func (a Active) Of(f gateway.Family) []string {
	if f == gateway.V4 {
		return a.V4
	}
	return a.V6
}

// Links returns the interfaces of both families, each once.
func (a Active) Links() []string {
	links := slices.Clone(a.V4)
	for _, l := range a.V6 {
		if !slices.Contains(links, l) {
			links = append(links, l)
		}
	}
	return links
}

// ActiveOf returns the interfaces of the defaults of the best metric.
func ActiveOf(routes []policy.KernelRoute) (a Active) {
	for _, f := range gateway.Families {
		best := slices.DeleteFunc(slices.Clone(routes), func(r policy.KernelRoute) bool { return r.Family != f || r.Dst.IsValid() || len(r.Hops) == 0 })
		for _, r := range best {
			if slices.ContainsFunc(best, func(o policy.KernelRoute) bool { return o.Metric < r.Metric }) {
				continue
			}
			if f == gateway.V4 {
				a.V4 = append(a.V4, r.Links()...)
			} else {
				a.V6 = append(a.V6, r.Links()...)
			}
		}
	}
	return a
}
