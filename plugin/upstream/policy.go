package upstream

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// policy is the order in which healthy resolvers are asked.
type policy string

const (
	sequential policy = "sequential" // as written, the preferred one first
	random     policy = "random"
	roundRobin policy = "round_robin"
	fastest    policy = "fastest" // by the time that their replies took lately
	together   policy = "race"    // the first few at once
)

// policies says what may be written, for messages.
const policies = "sequential, random, round_robin, fastest or race"

func (p policy) valid() bool {
	return slices.Contains([]policy{sequential, random, roundRobin, fastest, together}, p)
}

// raced is how many resolvers are asked at once.
const raced = 3

// order lists the resolvers in the order of the policy. Slow and silent ones come later, unhealthy ones last. They are
// not left out: where all are unhealthy, one of them may still answer.
func (u *Upstream) order(t *targets) []*resolver {
	n := len(t.resolvers)
	if n < 2 {
		return t.resolvers
	}
	now := time.Now()
	if u.opts.policy == sequential && !slices.ContainsFunc(t.resolvers, func(r *resolver) bool { return rank(r, now) > 0 }) {
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
	case fastest:
		list = append(list, t.resolvers...)
		slices.SortStableFunc(list, func(a, b *resolver) int { return cmp.Compare(a.latency.Mean(now), b.latency.Mean(now)) })
		u.measure(list, now)
	default:
		list = append(list, t.resolvers...)
	}
	slices.SortStableFunc(list, func(a, b *resolver) int { return rank(a, now) - rank(b, now) })
	return list
}

// measure has resolvers probed in the background whose last reply is too old to tell: those
// that are not the first are not asked otherwise.
func (u *Upstream) measure(list []*resolver, now time.Time) {
	for _, r := range list {
		if r.latency.Mean(now) == 0 && !unhealthy(r) && r.health.measuring.CompareAndSwap(false, true) {
			go func() {
				defer r.health.measuring.Store(false)
				if u.inUse(r) {
					r.probeOnce()
				}
			}()
		}
	}
}

func unhealthy(r *resolver) bool { return r.health.unhealthy.Load() }

func rank(r *resolver, now time.Time) int {
	switch {
	case unhealthy(r):
		return 2
	case r.suspect(now):
		return 1
	}
	return 0
}
