package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// attempt is one round trip to a resolver that exchange may make.
type attempt struct {
	pool      *pool
	edns      bool
	exclusive bool // on a new socket that no other query shares yet
}

// firstAttempt starts with UDP unless the address or force_tcp asks for a stream.
func (r *resolver) firstAttempt(edns bool) attempt {
	if r.transport != overUDP || r.opts.forceTCP {
		return attempt{pool: r.tcp, edns: edns}
	}
	return attempt{pool: r.udp, edns: edns}
}

// exchange asks the resolver until end, in as many attempts as nextAttempt finds
// worth making. The reply has the id and the case that the query was sent with. A
// truncated reply that TCP does not complete is returned as a *truncatedError.
func (r *resolver) exchange(ctx context.Context, end time.Time, q query) (*dns.Msg, error) {
	var truncated *dns.Msg
	for a := r.firstAttempt(true); ; {
		packed, err := q.pack(a.edns, r.transport == overTLS)
		if err != nil {
			return nil, err
		}
		m, err := r.roundTrip(ctx, end, packed, a)
		next, again := r.nextAttempt(a, m, err)
		switch {
		case again && next.exclusive && (ctx.Err() != nil || !time.Now().Before(end)):
			again = false
		case again && err == nil && m.Truncated:
			truncated = m
		case err == nil:
			truncated = nil
		}
		switch {
		case again:
			a = next
		case err != nil && truncated != nil:
			return nil, &truncatedError{truncated, err}
		default:
			return m, err
		}
	}
}

// nextAttempt returns the attempt that may improve on what a brought, or false:
//
//   - after UDP replies whose question has another case, or a truncated reply, TCP;
//   - after a reply of a server from before EDNS, the query without EDNS (RFC 6891,
//     section 7), over UDP first again;
//   - after a socket that broke, an exclusive socket, once. The old one may have been
//     idle for too long, or closed on the queries before this one (RFC 7766, section
//     6.2.4), or be bound to the address of a link that is gone.
func (r *resolver) nextAttempt(a attempt, m *dns.Msg, err error) (attempt, bool) {
	switch {
	case errors.Is(err, errCase):
		r.metrics.tcpRetryCase.Inc()
		return attempt{pool: r.tcp, edns: a.edns}, true
	case err == nil && m.Truncated && a.pool.datagram:
		r.metrics.tcpRetryTruncated.Inc()
		return attempt{pool: r.tcp, edns: a.edns}, true
	case err == nil:
		return r.firstAttempt(false), a.edns && rejectsEDNS(m)
	case errors.Is(err, errTimeout), errors.Is(err, errUnpack), errors.As(err, new(openError)):
		return a, false
	}
	return attempt{pool: a.pool, edns: a.edns, exclusive: true}, !a.exclusive
}

// truncatedError is a truncated UDP reply of a resolver that does not answer over
// TCP. The part that came is better than nothing.
type truncatedError struct {
	part *dns.Msg
	err  error
}

func (e *truncatedError) Error() string {
	return fmt.Sprintf("truncated reply over udp, then over tcp: %v", e.err)
}
func (e *truncatedError) Unwrap() error { return e.err }

// errUnpack is a reply to our query that is not a DNS message.
var errUnpack = errors.New("malformed reply")

// openError is why no socket could be opened.
type openError struct{ error }

func (e openError) Unwrap() error { return e.error }

// roundTrip sends the query on a socket of the attempt's pool and waits for the
// reply until end. An openError means that nothing was sent.
func (r *resolver) roundTrip(ctx context.Context, end time.Time, q packedQuery, a attempt) (*dns.Msg, error) {
	get := a.pool.get
	if a.exclusive {
		get = a.pool.openExclusive
	}
	s, err := get(ctx, end)
	if err != nil {
		return nil, openError{err}
	}
	defer a.pool.put(s)
	start := time.Now()
	a.pool.metrics.requests.Inc()
	a.pool.metrics.traffic.asked.Add(1)
	wire, err := s.exchange(ctx, end, q)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		if !a.pool.datagram {
			return nil, fmt.Errorf("%w: %w", errUnpack, err)
		}
		// Cut short without the TC bit, by the resolver or on the way. Its question
		// section matched, so TCP will tell.
		m.Truncated, m.Answer, m.Ns, m.Extra = true, nil, nil, nil
	}
	a.pool.metrics.reply(m.Rcode, time.Since(start))
	return m, nil
}
