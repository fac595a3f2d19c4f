package upstream

import (
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// probeBackoff bounds the time between two probes of a resolver that stays away,
// in multiples of the configured interval.
const probeBackoff = 10

// health counts a resolver's failures in a row. An unhealthy one is asked after
// all others, until any reply comes from it.
type health struct {
	fails   atomic.Int64
	sick    atomic.Bool
	probing atomic.Bool
}

// worked notes a reply, of whatever rcode: the resolver is there.
func (r *resolver) worked() {
	if r.health.fails.Load() != 0 {
		r.health.fails.Store(0)
	}
	if r.health.sick.Load() && r.health.sick.CompareAndSwap(true, false) {
		r.metrics.healthy.Set(1)
		log.Infof("resolver %s by route %s is healthy again", r.name, r.route)
	}
}

// failed notes that no reply came. After max_fails in a row it is unhealthy, which
// is logged once, and probed in the background.
func (r *resolver) failed(err error, stillAsked func() bool) {
	n := r.health.fails.Add(1)
	if r.opts.maxFails == 0 || n < int64(r.opts.maxFails) || r.ctx.Err() != nil {
		return
	}
	if r.health.sick.CompareAndSwap(false, true) {
		r.metrics.healthy.Set(0)
		log.Warningf("resolver %s by route %s is unhealthy: %v", r.name, r.route, err)
		r.startProbe(stillAsked)
	}
}

// startProbe runs at most one probe.
func (r *resolver) startProbe(stillAsked func() bool) {
	if r.opts.interval > 0 && r.health.probing.CompareAndSwap(false, true) {
		go r.probe(stillAsked)
	}
}

// probe asks until a reply comes. stillAsked is asked before each probe, so that
// none is sent while the route is down: not even a probe may leave by another way.
func (r *resolver) probe(stillAsked func() bool) {
	t := time.NewTimer(r.opts.interval)
	defer t.Stop()
	for wait := r.opts.interval; r.health.sick.Load(); t.Reset(wait) {
		select {
		case <-r.ctx.Done():
			return
		case <-t.C:
		}
		if !stillAsked() {
			return
		}
		r.probeOnce()
		wait = min(2*wait, probeBackoff*r.opts.interval)
	}
	r.health.probing.Store(false)
	if r.health.sick.Load() { // it fell ill between the loop's end and here
		r.startProbe(stillAsked)
	}
}

func (r *resolver) probeOnce() {
	q := question{Question: dns.Question{Name: r.opts.probe, Qtype: dns.TypeNS, Qclass: dns.ClassINET}, rd: true}
	if _, err := r.exchange(r.ctx, time.Now().Add(r.opts.timeout), q); err != nil {
		r.metrics.healthcheckFailures.Inc()
		log.Debugf("probe of resolver %s by route %s: %v", r.name, r.route, err)
		return
	}
	r.worked()
}
