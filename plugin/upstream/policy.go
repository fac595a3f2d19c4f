package upstream

import (
	"math/rand/v2"
	"slices"
)

// policy is the order in which healthy resolvers are asked.
type policy string

const (
	sequential policy = "sequential" // as written, the preferred one first
	random     policy = "random"
	roundRobin policy = "round_robin"
)

// order lists the resolvers in the order of the policy. Unhealthy ones come last and are
// not left out: where all are unhealthy, one of them may still answer.
func (u *Upstream) order(t *targets) []*resolver {
	n := len(t.resolvers)
	if n < 2 || u.opts.policy == sequential && !slices.ContainsFunc(t.resolvers, unhealthy) {
		return t.resolvers
	}
	list := make([]*resolver, 0, n)
	switch u.opts.policy {
	case random:
		for _, i := range rand.Perm(n) {
			list = append(list, t.resolvers[i])
		}
	case roundRobin:
		from := int(u.turn.Add(1) % uint64(n))
		list = append(append(list, t.resolvers[from:]...), t.resolvers[:from]...)
	default:
		list = append(list, t.resolvers...)
	}
	slices.SortStableFunc(list, func(a, b *resolver) int { return rank(a) - rank(b) })
	return list
}

func unhealthy(r *resolver) bool { return r.health.unhealthy.Load() }

func rank(r *resolver) int {
	if unhealthy(r) {
		return 1
	}
	return 0
}
