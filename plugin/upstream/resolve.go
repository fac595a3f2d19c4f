package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

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

// resolve asks the resolvers until one answers or end is reached, in a race of those that
// may be asked. Where they change meanwhile it begins again: while the route is down no packet
// is sent via it, nor via the WAN unless it falls back.
func (u *Upstream) resolve(ctx context.Context, end time.Time, q wire.Query) (*answer, error) {
	for {
		t := u.targets()
		if t.down {
			return nil, unsentError{downError{u.opts.route}}
		}
		if len(t.resolvers) == 0 {
			return nil, unsentError{fmt.Errorf("route %s has no resolvers: %s", u.opts.route, noResolversHint(u.opts.route, t.fallback))}
		}
		r := &race{ctx: ctx, u: u, targets: t, opts: &u.opts, q: q, end: end, waiting: u.order(t)}
		a, err := r.run()
		switch {
		case err == nil:
			return a, nil
		case errors.Is(err, errStale) && time.Now().Before(end):
		default:
			return nil, fmt.Errorf("no answer via route %s: %w", u.opts.route, err)
		}
	}
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
