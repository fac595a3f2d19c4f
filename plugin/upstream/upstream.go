// Package upstream is the CoreDNS plugin that asks other resolvers by a route. It
// stands at the end of the chain. Every socket that it opens carries the route's
// mark from the moment it is made, so that the kernel chooses the way, and the
// source address, by the route and not by the destination.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
)

// Upstream is the handler of one server block. It may be used by any number of
// goroutines.
type Upstream struct {
	opts    options
	status  func() *Status // never nil; the same pointer while nothing changes
	metrics routeMetrics
	turn    atomic.Uint64 // round_robin's
	asking  atomic.Int64  // questions in flight, for max_concurrent
	ready   atomic.Bool
	group   group[askKey, *answer]
	current atomic.Pointer[targets]

	mu     sync.Mutex // held while current is changed
	closed bool
}

// askKey is all that makes two questions the same one. What a client's EDNS
// options say does not go upstream, so they do not tell questions apart.
type askKey struct {
	name           string // in lower case: the reply holds for every case
	qtype, qclass  uint16
	rd, ad, cd, do bool
	round          uint64 // of the targets: not one question waits for a way that is gone
}

func newUpstream(o options, status func() *Status) *Upstream {
	return &Upstream{opts: o, status: status, metrics: newRouteMetrics(o.route)}
}

// Name implements plugin.Handler.
func (u *Upstream) Name() string { return "upstream" }

// Ready implements ready.Readiness. It is true from the start on: a resolver that
// does not answer, or a route that is down, is a state that this server reports
// and outlives, not one in which its other blocks must not be asked.
func (u *Upstream) Ready() bool { return u.ready.Load() }

// onStartup looks at the route once, so that its state is in the log and its
// resolvers in the metrics before the first question.
func (u *Upstream) onStartup() error {
	u.targets()
	u.ready.Store(true)
	return nil
}

// onShutdown ends the probes and the idle sockets. Questions in flight are
// answered, each within its budget, and take their sockets with them.
func (u *Upstream) onShutdown() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	if t := u.current.Load(); t != nil {
		for _, r := range t.resolvers {
			r.close()
		}
	}
	return nil
}

var errConcurrent = errors.New("concurrent questions exceeded max_concurrent")

// ServeDNS implements plugin.Handler. Next is never called: a question that comes
// here is answered here.
func (u *Upstream) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if len(r.Question) != 1 {
		return dns.RcodeFormatError, fmt.Errorf("%d questions in one message", len(r.Question))
	}
	q := r.Question[0]
	if r.Opcode != dns.OpcodeQuery || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		return dns.RcodeNotImplemented, fmt.Errorf("%s %s is not forwarded", dns.OpcodeToString[r.Opcode], dns.TypeToString[q.Qtype])
	}
	if q.Qtype == dns.TypeAAAA && q.Qclass == dns.ClassINET && gateway.WithoutIPv6(ctx) {
		u.metrics.withoutIPv6.Inc()
		return dns.RcodeSuccess, w.WriteMsg(noData(r))
	}
	n := u.asking.Add(1)
	defer u.asking.Add(-1)
	if u.opts.maxConcurrent > 0 && n > u.opts.maxConcurrent {
		u.metrics.rejects.Inc()
		return dns.RcodeRefused, errConcurrent
	}
	u.metrics.inFlight.Inc()
	defer u.metrics.inFlight.Dec()
	return u.forward(ctx, w, r)
}

// forward asks, or waits for an identical question's answer.
func (u *Upstream) forward(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	q := questionOf(r)
	k := askKey{strings.ToLower(q.Name), q.Qtype, q.Qclass, q.rd, q.ad, q.cd, q.do, u.targets().round}
	a, joined, shared, err := u.group.do(ctx, k, func(ctx context.Context) (*answer, error) {
		return u.exchange(ctx, time.Now().Add(u.opts.budget), q)
	})
	if joined {
		u.metrics.coalesced.Inc()
	}
	if err != nil {
		return u.fail(w, r, err)
	}
	metadata.SetValueFunc(ctx, "upstream/route", func() string { return u.opts.route })
	metadata.SetValueFunc(ctx, "upstream/to", func() string { return a.to })
	m := a.msg
	if shared {
		m = m.Copy()
	}
	if a.fallback {
		u.metrics.fallbacks.Inc()
		capTTL(m, gateway.FallbackMaxTTL)
	}
	return dns.RcodeSuccess, w.WriteMsg(toClient(m, r))
}

// fail answers SERVFAIL. To a client that speaks EDNS it says why (RFC 8914,
// section 4.24); the error goes to the errors plugin in either case. That the route
// is down is not written here but left to the handlers above: what is written passes
// the cache, which would keep it for seconds after the route is back.
func (u *Upstream) fail(w dns.ResponseWriter, r *dns.Msg, err error) (int, error) {
	var down downError
	if errors.As(err, &down) {
		u.metrics.refusals.Inc()
		return dns.RcodeServerFailure, err
	}
	if r.IsEdns0() == nil {
		return dns.RcodeServerFailure, err
	}
	if werr := w.WriteMsg(failure(r, err)); werr != nil {
		return dns.RcodeSuccess, werr
	}
	return dns.RcodeSuccess, err
}
