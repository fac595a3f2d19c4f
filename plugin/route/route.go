// Package route implements the plugin that puts the addresses of its block's
// answers into the sets of a route before the client sees them.
package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/plugin/dnshalf"
	"github.com/nameroute/nameroute/plugin/pkg/query"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

const name = "route"

// wellKnownNAT64 is the prefix of RFC 6052 section 2.1.
var wellKnownNAT64 = []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}

// learner is what the plugin asks of the dns half.
type learner interface {
	Name() string
	Status() *dnshalf.Status
	Lifetime() gateway.Lifetime
	Routable(addrs []netip.Addr) []netip.Addr
	Known(name string, addrs []netip.Addr, need, want time.Duration) bool
	Fresh(addrs []netip.Addr) int
	Learn(ctx context.Context, name string, addrs []netip.Addr, need, want time.Duration) error
}

// Route sees every answer of its block, cache hits included.
type Route struct {
	Next          plugin.Handler
	to            learner
	nat64         []netip.Prefix // prefixes that hold an IPv4 address
	limit         *limit         // nil: clients bring in what they like
	answerOnError bool
	counters      query.PerServer[*counters]
	said          atomic.Pointer[time.Time] // when an error was last logged, by the monotonic clock
}

// Name implements plugin.Handler.
func (r *Route) Name() string { return name }

// Ready implements ready.Readiness: the table stood before the server started.
func (r *Route) Ready() bool { return true }

// ServeDNS implements plugin.Handler.
func (r *Route) ServeDNS(ctx context.Context, w dns.ResponseWriter, req *dns.Msg) (int, error) {
	v6 := r.to.Status().V6
	if !v6 && len(req.Question) == 1 && req.Question[0].Qtype == dns.TypeAAAA {
		ctx = query.ContextWithoutIPv6(ctx)
	}
	rcode, err := plugin.NextOrFailure(r.Name(), r.Next, ctx, &writer{ResponseWriter: w, ctx: ctx, route: r, v6: v6}, req)
	if rcode == dns.RcodeServerFailure && err != nil && req.IsEdns0() != nil {
		// Nothing was written. A failure that the handlers below leave to us, like a
		// route that is down, is one that the cache must not keep.
		return dns.RcodeSuccess, errors.Join(err, w.WriteMsg(reply.Failure(req, dns.ExtendedErrorCodeNetworkError, err.Error())))
	}
	return rcode, err
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

// writer stands between the block's handlers and the client.
type writer struct {
	dns.ResponseWriter
	ctx   context.Context
	route *Route
	v6    bool
}

// WriteMsg lets an answer go once the kernel has its addresses. Guarantee 1.
func (w *writer) WriteMsg(m *dns.Msg) error {
	return w.ResponseWriter.WriteMsg(w.route.prepare(w.ctx, w, m, w.v6))
}

// Write implements dns.ResponseWriter for handlers that answer in wire format. What
// cannot be read cannot be learned, so it does not go out.
func (w *writer) Write(b []byte) (int, error) {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return 0, fmt.Errorf("answer of route %s cannot be read: %w", w.route.to.Name(), err)
	}
	out, err := w.route.prepare(w.ctx, w, m, w.v6).Pack()
	if err != nil {
		return 0, err
	}
	if _, err := w.ResponseWriter.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// prepare learns an answer's addresses and returns what is to be written: the answer,
// a changed copy of it, or SERVFAIL where the kernel refused an address, or the client
// brings in too many.
func (r *Route) prepare(ctx context.Context, w dns.ResponseWriter, m *dns.Msg, v6 bool) *dns.Msg {
	if !v6 {
		m = withoutIPv6(m, r.nat64)
	}
	life := r.to.Lifetime()
	m = reply.CapTTL(m, uint32(life.MaxTTL()/time.Second))

	var buf [16]netip.Addr
	addrs, ttl := addresses(m, r.nat64, buf[:0])
	if addrs = r.to.Routable(addrs); len(addrs) == 0 {
		return m
	}
	need, want := life.Of(ttl)
	var asked string
	if len(m.Question) > 0 {
		asked = m.Question[0].Name
	}
	if r.to.Known(asked, addrs, need, want) {
		r.count(ctx, len(addrs), nil)
		return m
	}
	err := r.admit(w, addrs)
	if err == nil {
		err = r.to.Learn(ctx, asked, addrs, need, want)
	}
	r.count(ctx, len(addrs), err)
	if err == nil {
		return m
	}
	r.say(asked, err)
	if r.answerOnError {
		return m
	}
	return servfail(m)
}

// admit bounds what one client brings in. What others brought in, or what is only to
// be prolonged, is free.
func (r *Route) admit(w dns.ResponseWriter, addrs []netip.Addr) error {
	if r.limit == nil {
		return nil
	}
	fresh := r.to.Fresh(addrs)
	if fresh == 0 {
		return nil
	}
	if client := clientOf(w.RemoteAddr()); client.IsValid() && !r.limit.allow(client, fresh) {
		return fmt.Errorf("%w: %s", errLimit, client)
	}
	return nil
}

// sayAgain is the pause between two lines on what may hold for many queries a second.
const sayAgain = time.Minute

// say logs that addresses are not routed. A set that is full is the dns half's to tell.
func (r *Route) say(asked string, err error) {
	if errors.Is(err, nft.ErrSetFull) {
		return
	}
	now := time.Now()
	old := r.said.Load()
	if old != nil && now.Sub(*old) < sayAgain || !r.said.CompareAndSwap(old, &now) {
		return
	}
	if r.answerOnError {
		log.Warningf("%s is answered although its addresses are not routed: %v", asked, err)
		return
	}
	log.Errorf("%s gets SERVFAIL, its addresses are not routed: %v (said once a minute)", asked, err)
}

// servfail is what the client gets instead of an answer that cannot be routed.
func servfail(req *dns.Msg) *dns.Msg {
	return reply.Failure(req, dns.ExtendedErrorCodeOther, "the address could not be routed")
}
