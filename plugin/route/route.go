// Package route implements the plugin that puts the addresses of its block's
// answers into the sets of a route before the client sees them.
package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/plugin/pkg/chain"
	"github.com/nameroute/nameroute/plugin/pkg/limit"
	"github.com/nameroute/nameroute/plugin/pkg/query"
	"github.com/nameroute/nameroute/plugin/pkg/replay"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

const name = "route"

// wellKnownNAT64 is the prefix of RFC 6052 section 2.1.
var wellKnownNAT64 = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}

// router is what the plugin asks of the dataplane, of which it is a route.
type router interface {
	State() *dataplane.State
	Admit(ctx context.Context, a dataplane.Answer, limit func(fresh int, crowded bool) error) (routed int, err error)
	Admitted(a dataplane.Answer) bool
}

// Route sees every answer of its block, cache hits included.
type Route struct {
	Next          plugin.Handler
	route         string
	to            router         // set when the instance starts
	nat64         []netip.Prefix // prefixes with an embedded IPv4 address
	limit         *limit.Limit   // of new addresses; nil: none
	answerOnError bool
	counters      query.PerServer[*counters]
	errors        logonce.Every
	labels        labels
}

// Name implements plugin.Handler.
func (r *Route) Name() string { return name }

// Ready implements ready.Readiness: the nft table was built before the server started.
func (r *Route) Ready() bool { return true }

// ServeDNS implements plugin.Handler.
func (r *Route) ServeDNS(ctx context.Context, w dns.ResponseWriter, req *dns.Msg) (int, error) {
	state := r.to.State()
	r.labels.publish(ctx, state.FallsBack())
	if !state.V6 && req.Question[0].Qtype == dns.TypeAAAA {
		ctx = query.ContextWithoutIPv6(ctx)
	}
	rw := &writer{ResponseWriter: w, reason: query.Reason{Context: ctx}, route: r, state: state, name: req.Question[0].Name, req: req, recording: replay.Of(ctx)}
	rcode, err := plugin.NextOrFailure(r.Name(), r.Next, &rw.reason, rw, req)
	if rcode != dns.RcodeServerFailure {
		return rcode, err
	}
	// Nothing was written. A reason that the handlers below leave to us is of a failure that
	// the cache must not keep, like that of a route that is down.
	if err == nil {
		err = rw.reason.Why()
	}
	if err == nil || req.IsEdns0() == nil {
		return rcode, err
	}
	return dns.RcodeSuccess, errors.Join(err, w.WriteMsg(reply.Failure(req, dns.ExtendedErrorCodeNetworkError, err.Error())))
}

// addNAT64 adds the prefix of the block's dns64. RFC 6052 section 2.2 also knows
// shorter ones, which CoreDNS's dns64 does not make.
func (r *Route) addNAT64(n *net.IPNet) error {
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits != 128 || ones > 96 {
		return fmt.Errorf("plugin/route: dns64 prefix %s: want an IPv6 prefix of at most 96 bits", n)
	}
	r.nat64 = append([]netip.Prefix{netip.PrefixFrom(addr, ones)}, r.nat64...)
	return nil
}

// writer sees the block's answers before the client does.
type writer struct {
	dns.ResponseWriter
	reason    query.Reason // the query's context
	route     *Route
	state     *dataplane.State // when the query came
	name      string           // that the client queried
	req       *dns.Msg         // in which rewrite may have put another name
	recording *replay.Recording
	buf       [16]netip.Addr // enough for nearly all answers, without a further allocation
}

// WriteMsg passes an answer on once the kernel has its addresses. Guarantee 1.
func (w *writer) WriteMsg(m *dns.Msg) error {
	return chain.Write(w.ResponseWriter, w.admit(m))
}

// Write implements dns.ResponseWriter for handlers that answer in wire format. What cannot
// be parsed cannot be learned, so it is not passed on.
func (w *writer) Write(b []byte) (int, error) {
	return reply.WriteWire(w.ResponseWriter, b, "answer of route "+w.route.route, w.admit)
}

// admit has an answer's addresses learned and returns what is to be written: the answer, a
// changed copy of it, or SERVFAIL where the kernel refused an address, or the client
// brings in too many. What does not belong to the query is neither learned nor written.
func (w *writer) admit(m *dns.Msg) *dns.Msg {
	r, life := w.route, &w.state.Lifetime
	m = chain.Clean(m, w.name, w.req.Question[0].Name)
	cleaned := m
	if !w.state.V6 {
		m = withoutIPv6(m, r.nat64)
	}
	m = reply.CapTTL(m, uint32(life.MaxTTL()/time.Second))
	if m != cleaned {
		w.recording.Refuse() // it is not what the cache counts down
	}

	addrs, ttl := addresses(m, r.nat64, w.buf[:0])
	if len(addrs) == 0 {
		w.record(dataplane.Answer{}, 0, 0)
		return m
	}
	a := dataplane.Answer{Name: w.name, Addrs: addrs}
	a.Need, a.Want = life.Of(ttl)
	routed, err := r.to.Admit(&w.reason, a, w.limit)
	if routed > 0 {
		r.count(&w.reason, routed, err)
	}
	if err == nil {
		w.record(a, ttl, routed)
		return m
	}
	w.recording.Refuse()
	r.report(a.Name, err)
	if r.answerOnError {
		return m
	}
	return reply.Failure(m, dns.ExtendedErrorCodeOther, "the address could not be routed")
}

// errLimit is returned for a client that adds too many new addresses.
var errLimit = errors.New("the client adds more new addresses than new_addresses allows")

// limit bounds how many new addresses one client brings in. What is there already, or is
// only to be prolonged, is free.
func (w *writer) limit(fresh int, crowded bool) error {
	if from := w.RemoteAddr(); !w.route.limit.Allow(from, fresh, crowded) {
		return fmt.Errorf("%w: %s", errLimit, limit.Client(from))
	}
	return nil
}

// reportPause is the time between two log lines about what may hold for many queries a
// second.
const reportPause = time.Minute

// report logs that addresses are not routed. The dataplane logs a set that is full.
func (r *Route) report(asked string, err error) {
	if errors.Is(err, dataplane.ErrSetFull) {
		return
	}
	ok, more := r.errors.Allow("")
	switch {
	case !ok:
	case r.answerOnError:
		log.Warningf("%s is answered although its addresses are not routed: %v (%d more since the last line)", asked, err, more)
	default:
		log.Errorf("%s gets SERVFAIL, its addresses are not routed: %v (%d more since the last line)", asked, err, more)
	}
}
