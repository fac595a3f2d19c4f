package upstream

import (
	"math/rand/v2"
	"slices"
)

// policy is the order in which healthy resolvers are asked.
type policy string

const (
	sequential policy = "sequential" // as written: people list the one they prefer first
	random     policy = "random"
	roundRobin policy = "round_robin"
)

// order lists the resolvers as they are to be asked: the unhealthy ones last, and
// not left out, because when all are unhealthy asking is the best that can be done.
func (u *Upstream) order(t *targets) []*resolver {
	n := len(t.resolvers)
	if n < 2 || u.opts.policy == sequential && !slices.ContainsFunc(t.resolvers, sick) {
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

func sick(r *resolver) bool { return r.health.sick.Load() }

func rank(r *resolver) int {
	if sick(r) {
		return 1
	}
	return 0
}
