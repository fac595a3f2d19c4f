package upstream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestHealth(t *testing.T) {
	var dead atomic.Bool
	dead.Store(true)
	first := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		if dead.Load() {
			return
		}
		w.WriteMsg(replyTo(r, "192.0.2.1"))
	})
	second := serve(t, answerWith("192.0.2.2"))
	l := forwarder(t, func(o *options) {
		o.timeout, o.probe, o.patience = 900*time.Millisecond, "probe.example.org.", 0
	}, first.String(), second.String())
	r := l.targets().resolvers[0]

	l.mustAsk(t, "a.example.org.", "192.0.2.2")
	if r.health.unhealthy.Load() || valueOf(t, r.metrics.healthy) != 1 {
		t.Error("unhealthy after one failure")
	}
	l.mustAsk(t, "b.example.org.", "192.0.2.2")
	within(t, 5*time.Second, "unhealthy after two failures", func() bool { return r.health.unhealthy.Load() && valueOf(t, r.metrics.healthy) == 0 })
	n := 0
	next := func() string { n++; return fmt.Sprintf("c%d.example.org.", n) }
	asked := func(name string, qtype uint16) bool {
		return slices.ContainsFunc(first.all(), func(m *dns.Msg) bool {
			return strings.EqualFold(m.Question[0].Name, name) && m.Question[0].Qtype == qtype
		})
	}
	// Where the other one is late it is asked as well.
	within(t, 30*time.Second, "the unhealthy one is not asked first", func() bool {
		name := next()
		l.mustAsk(t, name, "192.0.2.2")
		return !asked(name, dns.TypeA)
	})
	within(t, time.Second, "a probe has failed", func() bool { return valueOf(t, r.metrics.healthcheckFailures) > 0 })
	if !asked("probe.example.org.", dns.TypeNS) {
		t.Error("probes do not ask for the name")
	}
	dead.Store(false)
	within(t, 2*time.Second, "healthy again", func() bool { return !r.health.unhealthy.Load() && valueOf(t, r.metrics.healthy) == 1 })
	within(t, 30*time.Second, "it is asked first", func() bool { return addrOf(l.send(t, ask(next(), dns.TypeA))) == "192.0.2.1" })
	quiet(t, first)
}

// With all resolvers unhealthy they are asked all the same.
func TestAllUnhealthy(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, nil, closedPort(t), s.String())
	for _, r := range l.targets().resolvers {
		r.health.unhealthy.Store(true)
	}
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	if l.targets().resolvers[1].health.unhealthy.Load() {
		t.Error("a reply does not make it healthy")
	}
}

// No probe is sent while the route is down.
func TestNoProbeWhileDown(t *testing.T) {
	s := silent(t)
	l := forwarder(t, func(o *options) {
		o.timeout, o.budget, o.probe = 30*time.Millisecond, 100*time.Millisecond, "probe.example.org."
	}, s.String())
	for range l.opts.maxFails {
		l.client(context.Background(), ask("a.example.org.", dns.TypeA))
	}
	r := l.targets().resolvers[0]
	within(t, time.Second, "a probe is running", func() bool { return valueOf(t, r.metrics.healthcheckFailures) > 0 })
	l.change(func(s *Status) { s.Down = true })
	within(t, time.Second, "the probe has ended", func() bool { return r.ctx.Err() != nil })
	quiet(t, s)
}

func TestPolicies(t *testing.T) {
	for _, tc := range []struct {
		policy policy
		want   func(a, b, c int64) bool
	}{
		{sequential, func(a, b, c int64) bool { return a == 60 && b == 0 && c == 0 }},
		{roundRobin, func(a, b, c int64) bool { return a == 20 && b == 20 && c == 20 }},
		{random, func(a, b, c int64) bool { return a > 4 && b > 4 && c > 4 }},
	} {
		a, b, c := serve(t, answerWith("192.0.2.1")), serve(t, answerWith("192.0.2.1")), serve(t, answerWith("192.0.2.1"))
		l := forwarder(t, func(o *options) { o.policy = tc.policy }, a.String(), b.String(), c.String())
		for range 60 {
			l.mustAsk(t, "a.example.org.", "192.0.2.1")
		}
		if !tc.want(a.hits(), b.hits(), c.hits()) {
			t.Errorf("%s: asked %d, %d, %d times", tc.policy, a.hits(), b.hits(), c.hits())
		}
	}
}
