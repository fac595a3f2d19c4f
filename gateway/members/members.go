// Package members puts a group's members in force into the kernel and finds them there: its
// routing table holds copies of their defaults, in the order of preference.
package members

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// Add gives the table of a group the defaults of its members in force, by names.
func Add(s *policy.State, cfg *gateway.Config, r gateway.Route, inForce []string) {
	addCopies(s, cfg, r, inForce, gateway.DefaultMetric)
	s.Sort()
}

// addCopies adds copies of the defaults of some members to a group's table.
func addCopies(s *policy.State, cfg *gateway.Config, r gateway.Route, names []string, first uint32) {
	members := cfg.Members(r)
	for _, f := range gateway.Families {
		metric := first
		for _, name := range names {
			i := slices.IndexFunc(members, func(m gateway.Route) bool { return m.Name == name })
			if i < 0 {
				continue
			}
			if d, ok := defaultOf(s, members[i], f); ok {
				d.Table, d.Metric = r.Table, metric
				s.KernelRoutes = append(s.KernelRoutes, d)
				delete(s.Waiting, r.Name)
				metric++
			}
		}
	}
}

// defaultOf returns the default of a route that the kernel prefers.
func defaultOf(s *policy.State, r gateway.Route, f gateway.Family) (best policy.KernelRoute, ok bool) {
	for _, k := range s.KernelRoutes {
		if k.Table == r.Table && k.Family == f && !k.Dst.IsValid() && len(k.Hops) > 0 && (!ok || k.Metric < best.Metric) {
			best, ok = k, true
		}
	}
	return best, ok
}

// Usable returns why a route of a state cannot be used, or "".
func Usable(s *policy.State, r gateway.Route) string {
	for _, f := range gateway.Families {
		if _, ok := defaultOf(s, r, f); ok {
			return ""
		}
	}
	if why := s.Waiting[r.Name]; why != "" {
		return why
	}
	return "has no default route"
}

// InForce tells from the defaults of a group's table which of its members are in force, by
// the link or the next hop: for each family in the order of preference.
func InForce(cfg *gateway.Config, r gateway.Route, defaults []policy.KernelRoute) map[gateway.Family][]gateway.Member {
	return among(cfg, r, defaults, func(k policy.KernelRoute) bool { return k.Metric < Standby })
}

func among(cfg *gateway.Config, r gateway.Route, defaults []policy.KernelRoute, counts func(policy.KernelRoute) bool) map[gateway.Family][]gateway.Member {
	members := cfg.Members(r)
	inForce := map[gateway.Family][]gateway.Member{}
	defaults = slices.DeleteFunc(slices.Clone(defaults), func(k policy.KernelRoute) bool { return !counts(k) })
	slices.SortStableFunc(defaults, func(a, b policy.KernelRoute) int { return int(int64(a.Metric) - int64(b.Metric)) })
	for _, k := range defaults {
		i := slices.IndexFunc(members, func(m gateway.Route) bool { return leavesBy(m.Egress, k) })
		if i < 0 {
			continue
		}
		j := slices.IndexFunc(r.Group.Members, func(m gateway.Member) bool { return m.Route == members[i].Name })
		if m := r.Group.Members[j]; !slices.Contains(inForce[k.Family], m) {
			inForce[k.Family] = append(inForce[k.Family], m)
		}
	}
	return inForce
}

func leavesBy(e gateway.Egress, k policy.KernelRoute) bool {
	return slices.ContainsFunc(k.Hops, func(h policy.Hop) bool {
		if e.Kind == gateway.EgressNextHop {
			return slices.Contains(e.NextHops, h.Via.WithZone(""))
		}
		return h.Link == e.Link
	})
}

// Left returns the members that an earlier process has left in force, of either family.
func Left(cfg *gateway.Config, r gateway.Route, have policy.State) (names []string) {
	var defaults []policy.KernelRoute
	for _, k := range have.KernelRoutes {
		if k.Table == r.Table && !k.Dst.IsValid() && len(k.Hops) > 0 {
			defaults = append(defaults, k)
		}
	}
	for _, inForce := range InForce(cfg, r, defaults) {
		for _, m := range inForce {
			if !slices.Contains(names, m.Route) {
				names = append(names, m.Route)
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int { return place(r.Group, a) - place(r.Group, b) })
	return names
}

func place(g *gateway.Group, name string) int {
	return slices.IndexFunc(g.Members, func(m gateway.Member) bool { return m.Route == name })
}
