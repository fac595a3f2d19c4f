package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// minTry is the least time in which it makes sense to begin with another resolver.
const minTry = 20 * time.Millisecond

// answer is what an exchange found.
type answer struct {
	msg      *dns.Msg
	to       string // the resolver
	fallback bool   // it was asked by the WAN, because the route is down
}

// downError is a route that is down: nothing was sent.
type downError struct{ route string }

func (e downError) Error() string { return fmt.Sprintf("route %s is down", e.route) }

func noResolversHint(route string, fallback bool) string {
	if fallback || route == "wan" {
		return "name addresses in the Corefile, or wan_resolvers in gateway.yaml"
	}
	return "name addresses in the Corefile, or DNS = in the provider's file"
}

// exchange asks one resolver after the other until one answers, until end. Healthy
// ones come first, in the order of the policy. A resolver that says SERVFAIL or
// REFUSED is there but of no help: the next is asked, and if none does better,
// that reply is the answer. The route's state is looked at before every try: while
// it is down not one more packet is sent by it, nor by anything else unless it
// falls back.
func (u *Upstream) exchange(ctx context.Context, end time.Time, q question) (*answer, error) {
	var worse *answer // what to answer if nobody has better
	var err error
	t := u.targets()
	order := u.order(t)
	for try, i := 0, 0; ; try, i = try+1, i+1 {
		if now := u.targets(); now.round != t.round {
			t, order, i = now, u.order(now), 0
		}
		if t.down {
			return nil, downError{u.opts.route}
		}
		if len(order) == 0 {
			return nil, fmt.Errorf("route %s has no resolvers: %s", u.opts.route, noResolversHint(u.opts.route, t.fallback))
		}
		if i >= len(order) && worse != nil {
			return worse, nil // everybody was asked, and one did answer
		}
		if i >= maxTries(len(order)) || try >= 2*maxTries(len(order)) || ctx.Err() != nil || try > 0 && time.Until(end) < minTry {
			return u.lost(ctx, worse, err)
		}
		r := order[i%len(order)]
		var m *dns.Msg
		m, err = u.try(ctx, end, r, q, try == 0)
		if err != nil {
			var cut *truncatedError
			if errors.As(err, &cut) {
				worse = &answer{cut.part, r.name, t.fallback}
			}
			continue
		}
		a := &answer{m, r.name, t.fallback}
		if !unhelpful(m) {
			return a, nil
		}
		worse = a
	}
}

// maxTries lets a question that was lost be asked again: twice round, and a third
// time where there is only one resolver.
func maxTries(resolvers int) int { return max(3, 2*resolvers) }

// lost ends an exchange that found no answer.
func (u *Upstream) lost(ctx context.Context, worse *answer, err error) (*answer, error) {
	if worse != nil {
		return worse, nil
	}
	if err == nil {
		err = ctx.Err()
	}
	return nil, fmt.Errorf("no answer by route %s: %w", u.opts.route, err)
}

// try asks one resolver for as long as one try may take, and notes its health.
func (u *Upstream) try(ctx context.Context, end time.Time, r *resolver, q question, first bool) (*dns.Msg, error) {
	start := time.Now()
	given := min(u.opts.timeout, end.Sub(start))
	end = start.Add(given)
	m, err := r.exchange(ctx, end, q)
	if err == nil {
		r.worked()
		return m, nil
	}
	if ctx.Err() != nil {
		return nil, err // nobody waits for the answer any more; that is not the resolver's fault
	}
	silent := errors.Is(err, errTimeout) || !time.Now().Before(end)
	var cut *truncatedError
	if silent && !errors.As(err, &cut) {
		err = fmt.Errorf("no reply in %s", given.Round(time.Millisecond))
	}
	// Where only a rest of the budget was left to it, silence proves nothing.
	if !silent || first || given >= u.opts.timeout/2 {
		r.failed(err, func() bool { return u.stillAsked(r) })
	}
	return nil, fmt.Errorf("%s: %w", r.name, err)
}

// unhelpful is a reply that says nothing about the name: another resolver may know.
func unhelpful(m *dns.Msg) bool {
	switch m.Rcode {
	case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
		return true
	}
	return false
}
