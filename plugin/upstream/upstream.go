// Package upstream is the CoreDNS plugin that forwards queries to resolvers via a
// route. It ends the plugin chain. Every socket that it opens carries the route's mark
// from the moment it exists, so that the kernel chooses egress and source address by
// the route and not by the destination.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin/metadata"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/plugin/pkg/chain"
	sharedquery "github.com/nameroute/nameroute/plugin/pkg/query"
	sharedreply "github.com/nameroute/nameroute/plugin/pkg/reply"
	"github.com/nameroute/nameroute/plugin/upstream/bootstrap"
	"github.com/nameroute/nameroute/plugin/upstream/client"
	"github.com/nameroute/nameroute/plugin/upstream/coalesce"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// Upstream is the handler of one server block. It is safe for concurrent use.
type Upstream struct {
	opts    options
	status  func() *Status // never nil; the same pointer while nothing changes
	metrics routeMetrics
	learned bool          // its block learns the answers, or their aliases; set before the first query
	turn    atomic.Uint64 // counts queries, for round_robin
	asking  atomic.Int64  // queries in flight, for max_concurrent
	ready   atomic.Bool
	group   coalesce.Group[askKey, *answer]
	unsent  logonce.Every
	current atomic.Pointer[targets]

	mu     sync.Mutex // held while current is changed
	closed bool
	hosts  map[hostKey]*bootstrap.Host
}

// askKey holds all that makes two queries identical. Of a client's EDNS options only the
// subnet may be forwarded, so the others do not distinguish queries.
type askKey struct {
	name          string // in lower case: the reply holds for every case
	qtype, qclass uint16
	ad, cd, do    bool
	subnet        netip.Prefix
	round         uint64 // of the targets: no query waits for an exchange via a route state that has ended
}

func newUpstream(o options, status func() *Status) *Upstream {
	return &Upstream{opts: o, status: status, metrics: newRouteMetrics(o.route), unsent: logonce.Every{Interval: time.Minute}}
}

// Name implements plugin.Handler.
func (u *Upstream) Name() string { return "upstream" }

// Ready implements ready.Readiness. It is true once the server has started: a resolver
// that does not answer, or a route that is down, must not withhold the other blocks of
// this server.
func (u *Upstream) Ready() bool { return u.ready.Load() }

// onStartup reads the route's state once, so that it is logged and its resolvers are in
// the metrics before the first query.
func (u *Upstream) onStartup() error {
	u.targets()
	u.ready.Store(true)
	return nil
}

// onShutdown ends the probes and closes idle sockets. Queries in flight are answered,
// each within its budget, and their sockets close after them.
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

var errConcurrent = errors.New("concurrent queries exceeded max_concurrent")

// ServeDNS implements plugin.Handler. It never calls a next plugin.
func (u *Upstream) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if len(r.Question) != 1 {
		return dns.RcodeFormatError, fmt.Errorf("message has %d questions, want 1", len(r.Question))
	}
	q := r.Question[0]
	if r.Opcode != dns.OpcodeQuery || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		return dns.RcodeNotImplemented, fmt.Errorf("%s %s is not forwarded", dns.OpcodeToString[r.Opcode], dns.TypeToString[q.Qtype])
	}
	if client.IsOfResolver(q) {
		return dns.RcodeSuccess, client.Write(ctx, w, client.NoResolver(r))
	}
	if q.Qtype == dns.TypeAAAA && q.Qclass == dns.ClassINET && sharedquery.WithoutIPv6(ctx) {
		u.metrics.withoutIPv6.Inc()
		return dns.RcodeSuccess, client.Write(ctx, w, client.NoData(r, u.opts.route))
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

// forward resolves the query, or waits for the answer to an identical one in flight.
func (u *Upstream) forward(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	q := wire.QueryOf(r)
	q.Subnet = u.opts.subnets.For(r)
	k := askKey{strings.ToLower(q.Name), q.Qtype, q.Qclass, q.AD, q.CD, q.DO, q.Subnet, u.targets().round}
	a, joined, shared, err := u.group.Do(ctx, k, func(ctx context.Context) (*answer, error) {
		return u.resolve(ctx, time.Now().Add(u.opts.budget), q)
	})
	if joined {
		u.metrics.coalesced.Inc()
	}
	if err != nil {
		return u.fail(ctx, w, r, err)
	}
	metadata.SetValueFunc(ctx, "upstream/route", func() string { return u.opts.route })
	metadata.SetValueFunc(ctx, "upstream/to", func() string { return a.to })
	m := a.msg
	if shared {
		m = m.Copy()
	}
	if u.learned {
		m = chain.Clean(m, r.Question[0].Name) // before the cache has it
	}
	if a.fallback {
		u.metrics.fallbacks.Inc()
		m = sharedreply.CapTTL(m, gateway.FallbackMaxTTL)
	}
	return dns.RcodeSuccess, client.Write(ctx, w, client.Answer(m, r))
}

// fail answers SERVFAIL and returns the error for the errors plugin. A client that speaks
// EDNS gets the reason (RFC 8914, section 4.24) from the handler above the cache, which would
// remove it, and from us where there is none.
//
// Caches keep the failure for seconds, so that resolvers that do not answer are not asked
// the same again at once: RFC 9520, section 3.2. A query that was not sent is no such failure,
// and is to be sent as soon as the route is up again, so it is answered without an error.
func (u *Upstream) fail(ctx context.Context, w dns.ResponseWriter, r *dns.Msg, err error) (int, error) {
	if errors.As(err, new(downError)) {
		u.metrics.refusals.Inc()
	}
	told := sharedquery.SetReason(ctx, err)
	if errors.As(err, new(unsentError)) {
		if !told {
			if ok, more := u.unsent.Allow(""); ok {
				log.Errorf("query failed: %v (%d more since the last line)", err, more)
			}
		}
		return dns.RcodeServerFailure, nil
	}
	if told || r.IsEdns0() == nil {
		return dns.RcodeServerFailure, err
	}
	if werr := w.WriteMsg(sharedreply.Failure(r, dns.ExtendedErrorCodeNetworkError, err.Error())); werr != nil {
		return dns.RcodeSuccess, werr
	}
	return dns.RcodeSuccess, err
}
