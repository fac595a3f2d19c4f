package upstream

import (
	"context"
	"crypto/tls"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/plugin/upstream/known"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// key identifies a resolver: the same address via another route is another resolver,
// with sockets, health and TLS sessions of its own.
type key struct {
	address
	mark    gateway.Mark
	inForce string // the members of a group that are in force: others mean other sockets
}

// resolver is one address that is queried with one mark.
type resolver struct {
	key
	name    string // the address as written in the Corefile
	opts    *options
	route   string
	metrics *resolverMetrics
	udp     *pool
	tcp     *pool // TCP, or TLS
	health  health
	latency known.Latency
	cookies wire.Jar
	known   atomic.Pointer[known.Capabilities]
	ctx     context.Context // ends when the resolver is no longer in use
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
	r.udp = &pool{datagram: true, open: d.udp, timeout: o.timeout, onMismatch: r.metrics.mismatch, metrics: newPoolMetrics(route, r.name, "udp")}
	r.tcp = &pool{open: d.stream, timeout: o.timeout, onMismatch: r.metrics.mismatch, metrics: newPoolMetrics(route, r.name, proto)}
	r.known.Store(&known.Capabilities{})
	r.metrics.healthy.Set(1)
	return r
}

// tlsConfig verifies the server's name, or its address where no name is given
// (RFC 8310, section 8.1). Sessions are resumed with the same resolver via the same
// route only: a ticket used via another route would link the two to one box.
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

// close stops the probe and lets the queries in flight finish.
func (r *resolver) close() {
	r.end()
	r.udp.close()
	r.tcp.close()
}

// capabilities returns what is known of the resolver.
func (r *resolver) capabilities() *known.Capabilities { return r.known.Load() }

// learn updates what is known of the resolver.
func (r *resolver) learn(used, missed wire.Features, now time.Time) {
	for {
		old := r.known.Load()
		if !old.Tells(used, missed) {
			return
		}
		next := old.After(used, missed, now)
		if r.known.CompareAndSwap(old, &next) {
			if new := next.Lacks &^ old.Lacks; new != 0 {
				log.Debugf("resolver %s via route %s: %s does not work, not tried for %s", r.name, r.route, new, known.Memory)
			}
			return
		}
	}
}
