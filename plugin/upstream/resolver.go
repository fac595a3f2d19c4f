package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
)

// key tells resolvers apart: the same address through another route is another
// resolver, with sockets, health and TLS sessions of its own.
type key struct {
	address
	mark gateway.Mark
}

// resolver is one address that is asked with one mark.
type resolver struct {
	key
	name    string // the address as it stands in the Corefile
	opts    *options
	route   string
	metrics *resolverMetrics
	udp     *pool
	tcp     *pool // TCP, or TLS
	health  health
	ctx     context.Context // ends when the resolver is no longer asked
	end     context.CancelFunc
}

func newResolver(k key, route string, o *options) *resolver {
	r := &resolver{key: k, name: k.String(), opts: o, route: route}
	r.metrics = newResolverMetrics(route, r.name)
	r.ctx, r.end = context.WithCancel(context.Background())
	proto := "tcp"
	d := dialer{net: markedDialer(k.mark), addr: k.addr.String(), expire: o.expire, timeout: o.timeout}
	if k.transport == overTLS {
		d.tls, proto = tlsConfig(k.address, o), "tls"
	}
	r.udp = &pool{datagram: true, open: d.udp, timeout: o.timeout, strange: r.metrics.mismatch, metrics: newPoolMetrics(route, r.name, "udp")}
	r.tcp = &pool{open: d.stream, timeout: o.timeout, strange: r.metrics.mismatch, metrics: newPoolMetrics(route, r.name, proto)}
	r.metrics.healthy.Set(1)
	return r
}

// tlsConfig verifies the server's name, or its address where no name is given
// (RFC 8310, section 8.1). Sessions are resumed with the same resolver by the same
// route only: a ticket used by another way would tell that both are one box.
func tlsConfig(a address, o *options) *tls.Config {
	c := &tls.Config{}
	if o.tls != nil {
		c = o.tls.Clone()
	}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.ClientSessionCache = tls.NewLRUClientSessionCache(streamMost)
	switch {
	case a.name != "":
		c.ServerName = a.name
	case o.tlsName != "":
		c.ServerName = o.tlsName
	default:
		c.ServerName = a.addr.Addr().WithZone("").String()
	}
	return c
}

// close stops the probe and lets the questions in flight finish.
func (r *resolver) close() {
	r.end()
	r.udp.close()
	r.tcp.close()
}

// exchange asks the resolver once, until end and by whatever transports that takes.
// The message has the id and the case that it was sent with.
func (r *resolver) exchange(ctx context.Context, end time.Time, q question) (*dns.Msg, error) {
	m, err := r.ask(ctx, end, q, true)
	if err == nil && knowsNoEDNS(m) {
		m, err = r.ask(ctx, end, q, false)
	}
	return m, err
}

// ask sends the question by UDP and, if that does not settle it, by TCP.
func (r *resolver) ask(ctx context.Context, end time.Time, q question, edns bool) (*dns.Msg, error) {
	packed, err := q.pack(edns, r.transport == overTLS)
	if err != nil {
		return nil, err
	}
	if r.transport != overUDP || r.opts.forceTCP {
		return r.over(ctx, end, r.tcp, packed)
	}
	m, err := r.over(ctx, end, r.udp, packed)
	switch {
	case errors.Is(err, errCase):
		r.metrics.tcpRetryCase.Inc()
		return r.over(ctx, end, r.tcp, packed)
	case err == nil && m.Truncated:
		r.metrics.tcpRetryTruncated.Inc()
		full, err := r.over(ctx, end, r.tcp, packed)
		if err != nil {
			return nil, &truncatedError{m, err}
		}
		return full, nil
	}
	return m, err
}

// truncatedError is a resolver whose answer does not fit UDP and that does not
// answer over TCP. The part that came is better than nothing.
type truncatedError struct {
	part *dns.Msg
	err  error
}

func (e *truncatedError) Error() string { return fmt.Sprintf("truncated, and then by tcp: %v", e.err) }
func (e *truncatedError) Unwrap() error { return e.err }

// over asks on one of the pool's sockets. A socket that broke before it answered
// may have been idle for too long, or hung up on the questions before ours (RFC
// 7766, section 6.2.4), or have the address of a link that is gone: one more try,
// on a socket of our own.
func (r *resolver) over(ctx context.Context, end time.Time, p *pool, q query) (*dns.Msg, error) {
	s, err := p.get(ctx, end)
	if err != nil {
		return nil, err
	}
	m, err := r.on(ctx, end, p, s, q)
	if err == nil || !worthFreshSocket(ctx, end, err) {
		return m, err
	}
	if s, err = p.fresh(ctx, end); err != nil {
		return nil, err
	}
	return r.on(ctx, end, p, s, q)
}

func worthFreshSocket(ctx context.Context, end time.Time, err error) bool {
	for _, final := range []error{errTimeout, errCase, errUnpack} {
		if errors.Is(err, final) {
			return false
		}
	}
	return ctx.Err() == nil && time.Now().Before(end)
}

// errUnpack is a reply to our question that is not a message.
var errUnpack = errors.New("malformed reply")

// on asks on a socket on which a place is reserved, and gives it back.
func (r *resolver) on(ctx context.Context, end time.Time, p *pool, s *socket, q query) (*dns.Msg, error) {
	defer p.done(s)
	start := time.Now()
	p.metrics.requests.Inc()
	p.metrics.traffic.asked.Add(1)
	wire, err := s.ask(ctx, end, q)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		if !p.datagram {
			return nil, fmt.Errorf("%w: %w", errUnpack, err)
		}
		// Cut short without the TC bit, by the resolver or by something on the way.
		// Its question matched, so TCP will tell.
		m.Truncated, m.Answer, m.Ns, m.Extra = true, nil, nil, nil
	}
	p.metrics.reply(m.Rcode, time.Since(start))
	return m, nil
}
