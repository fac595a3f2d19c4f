package upstream

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/known"
	"github.com/nameroute/nameroute/plugin/upstream/mux"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// key identifies a resolver: the same address via another route is another resolver,
// with sockets, health and TLS sessions of its own.
type key struct {
	address.Address
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
	tcp     *pool // TCP, TLS, or where each query has a stream of its own
	health  health
	latency known.Latency
	cookies wire.Jar
	known   atomic.Pointer[known.Capabilities]
	ctx     context.Context // ends when the resolver is no longer in use
	end     context.CancelFunc
}

func newResolver(k key, route string, o *options, addrs places) *resolver {
	r := &resolver{key: k, name: k.String(), opts: o, route: route}
	r.metrics = newResolverMetrics(route, r.name)
	r.ctx, r.end = context.WithCancel(context.Background())
	proto := "tcp"
	d := dialer{net: markedDialer(k.mark), addrs: addrs, expire: o.expire, timeout: o.timeout}
	if k.Transport.Encrypted() {
		proto = string(k.Transport)
		d.trust = trust.NewServer(k.Address, r.trusted())
	}
	r.udp = &pool{datagram: true, open: d.udp, timeout: o.timeout, onMismatch: r.metrics.mismatch, metrics: newPoolMetrics(route, r.name, "udp")}
	r.tcp = &pool{open: d.stream, timeout: o.timeout, onMismatch: r.metrics.mismatch, metrics: newPoolMetrics(route, r.name, proto)}
	if k.Transport.Multiplexed() {
		r.tcp.mux = mux.NewClient(mux.Options{
			Address: k.Address, Addrs: addrs, Trust: d.trust, Dial: d.net.DialContext, Listen: markdial.ListenConfig(k.mark).ListenPacket,
			Timeout: o.timeout, Expire: o.expire,
		})
	}
	r.known.Store(&known.Capabilities{})
	r.metrics.healthy.Set(1)
	return r
}

// trusted returns which certificates are believed.
func (r *resolver) trusted() trust.Options {
	often := logonce.Every{Interval: time.Hour}
	o := r.opts.trust
	o.Warn = func(format string, args ...any) {
		if ok, _ := often.Allow(""); ok {
			log.Warningf("via route "+r.route+": "+format, args...)
		}
	}
	return o
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
