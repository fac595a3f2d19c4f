package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// minTry is the shortest time left in which another resolver is worth asking.
const minTry = 20 * time.Millisecond

// answer is the reply that resolve settled on.
type answer struct {
	msg      *dns.Msg
	to       string // the resolver that it came from
	fallback bool   // it was queried via the WAN, because the route is down
}

// downError says that the route is down.
type downError struct{ route string }

func (e downError) Error() string { return fmt.Sprintf("route %s is down", e.route) }

// unsentError is why nothing was sent.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

func noResolversHint(route string, fallback bool) string {
	if fallback || route == "wan" {
		return "name addresses in the Corefile, or wan_resolvers in gateway.yaml"
	}
	return "name addresses in the Corefile, or DNS = in the provider's file"
}

// resolve asks one resolver after the other until one answers or end is reached.
// Healthy ones come first, in the order of the policy. A reply of SERVFAIL or REFUSED
// shows that the resolver is there, but does not help: the next one is asked, and that
// reply is the answer if none does better. The route's state is checked before every
// try: while it is down no packet is sent via it, nor via the WAN unless it falls back.
func (u *Upstream) resolve(ctx context.Context, end time.Time, q query) (*answer, error) {
	var lastResort *answer // if no resolver has a better one
	var err error
	t := u.targets()
	order := u.order(t)
	for try, i := 0, 0; ; try, i = try+1, i+1 {
		if now := u.targets(); now.round != t.round {
			t, order, i = now, u.order(now), 0
		}
		if t.down {
			return nil, unsentError{downError{u.opts.route}}
		}
		if len(order) == 0 {
			return nil, unsentError{fmt.Errorf("route %s has no resolvers: %s", u.opts.route, noResolversHint(u.opts.route, t.fallback))}
		}
		if i >= len(order) && lastResort != nil {
			return lastResort, nil // all were asked, and at least one answered
		}
		if i >= maxTries(len(order)) || try >= 2*maxTries(len(order)) || ctx.Err() != nil || try > 0 && time.Until(end) < minTry {
			return u.giveUp(ctx, lastResort, err)
		}
		r := order[i%len(order)]
		var m *dns.Msg
		m, err = u.ask(ctx, end, r, q, try == 0)
		if err != nil {
			var cut *truncatedError
			if errors.As(err, &cut) {
				lastResort = &answer{cut.part, r.name, t.fallback}
			}
			continue
		}
		a := &answer{m, r.name, t.fallback}
		if !unhelpful(m) {
			return a, nil
		}
		lastResort = a
	}
}

// maxTries bounds the tries for one query that gets no reply: each resolver twice, or
// three times where there is only one.
func maxTries(resolvers int) int { return max(3, 2*resolvers) }

// giveUp returns the last resort, else the last error.
func (u *Upstream) giveUp(ctx context.Context, lastResort *answer, err error) (*answer, error) {
	if lastResort != nil {
		return lastResort, nil
	}
	if err == nil {
		err = ctx.Err()
	}
	return nil, fmt.Errorf("no answer via route %s: %w", u.opts.route, err)
}

// ask asks one resolver for as long as one try may take, and updates its health.
func (u *Upstream) ask(ctx context.Context, end time.Time, r *resolver, q query, first bool) (*dns.Msg, error) {
	start := time.Now()
	given := min(u.opts.timeout, end.Sub(start))
	end = start.Add(given)
	m, err := r.exchange(ctx, end, q)
	if err == nil {
		r.worked()
		return m, nil
	}
	if ctx.Err() != nil {
		return nil, err // no client waits any more, which is not the resolver's fault
	}
	silent := errors.Is(err, errTimeout) || !time.Now().Before(end)
	var cut *truncatedError
	if silent && !errors.As(err, &cut) {
		err = fmt.Errorf("no reply in %s", given.Round(time.Millisecond))
	}
	// A resolver that was given only the rest of the budget has not failed by silence.
	if !silent || first || given >= u.opts.timeout/2 {
		r.failed(err, func() bool { return u.inUse(r) })
	}
	return nil, fmt.Errorf("%s: %w", r.name, err)
}

// unhelpful reports whether a reply says nothing about the name: another resolver may
// have an answer.
func unhelpful(m *dns.Msg) bool {
	switch m.Rcode {
	case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
		return true
	}
	return false
}
