package upstream

import (
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// probeBackoff bounds the time between two probes of an unhealthy resolver, as a multiple
// of the configured interval.
const probeBackoff = 10

// probePatience is how long a probe waits, as a multiple of the timeout: a slow resolver is
// heard.
const probePatience = 1.5

// health counts a resolver's consecutive failures. An unhealthy one is asked after all
// others until it replies.
type health struct {
	fails     atomic.Int64
	late      atomic.Int64 // races in which its patience is over and nothing was heard
	unhealthy atomic.Bool
	probing   atomic.Bool
	measuring atomic.Bool // for the policy fastest
}

// worked records a reply of any rcode: the resolver is there.
func (r *resolver) worked(took time.Duration, now time.Time) {
	r.latency.Add(took, now)
	if r.health.fails.Load() != 0 {
		r.health.fails.Store(0)
	}
	if r.health.unhealthy.Load() && r.health.unhealthy.CompareAndSwap(true, false) {
		r.metrics.healthy.Set(1)
		log.Infof("resolver %s via route %s is healthy again", r.name, r.route)
	}
}

// failed records that no reply came. After max_fails in a row the resolver is unhealthy,
// which is logged once, and is probed in the background.
func (r *resolver) failed(err error, inUse func() bool) {
	n := r.health.fails.Add(1)
	if r.opts.maxFails == 0 || n < int64(r.opts.maxFails) || r.ctx.Err() != nil {
		return
	}
	if r.health.unhealthy.CompareAndSwap(false, true) {
		r.metrics.healthy.Set(0)
		log.Warningf("resolver %s via route %s is unhealthy: %v", r.name, r.route, err)
		r.startProbe(inUse)
	}
}

// startProbe starts probing unless a probe is running.
func (r *resolver) startProbe(inUse func() bool) {
	if r.opts.interval > 0 && r.health.probing.CompareAndSwap(false, true) {
		go r.probe(inUse)
	}
}

// probe queries the resolver until it replies. It ends when inUse reports false, so that
// no probe is sent while the route is down.
func (r *resolver) probe(inUse func() bool) {
	t := time.NewTimer(r.opts.interval)
	defer t.Stop()
	for wait := r.opts.interval; r.health.unhealthy.Load(); t.Reset(wait) {
		select {
		case <-r.ctx.Done():
			return
		case <-t.C:
		}
		if !inUse() {
			return
		}
		r.probeOnce()
		wait = min(2*wait, probeBackoff*r.opts.interval)
	}
	r.health.probing.Store(false)
	if r.health.unhealthy.Load() { // it failed again after the loop ended
		r.startProbe(inUse)
	}
}

func (r *resolver) probeOnce() {
	ra := &race{
		ctx: r.ctx, opts: r.opts, end: time.Now().Add(time.Duration(probePatience * float64(r.opts.timeout))), waiting: []*resolver{r},
		q: wire.Query{Question: dns.Question{Name: r.opts.probe, Qtype: dns.TypeNS, Qclass: dns.ClassINET}},
	}
	if _, err := ra.run(); err != nil {
		r.metrics.healthcheckFailures.Inc()
		log.Debugf("probe of resolver %s via route %s: %v", r.name, r.route, err)
	}
}

// patience returns how long the resolver may be silent before more is done. Streams may
// have to be opened first, and lose nothing.
func (r *resolver) patience() time.Duration {
	if r.opts.patience > 0 {
		return r.opts.patience
	}
	limit := r.opts.timeout / 3
	if r.Transport != address.UDP || r.opts.forceTCP {
		return limit
	}
	return r.latency.Patience(limit)
}

// suspect reports whether the resolver may be dead, or is slow: it is asked after those that
// are not.
func (r *resolver) suspect(now time.Time) bool {
	if most := int64(r.opts.maxFails); most > 0 && r.health.late.Load()+r.health.fails.Load() >= most {
		return true
	}
	return r.latency.Slow(r.opts.timeout/3, now)
}
