package upstream

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// Who answers before the resolver does is not heard, over UDP; an answer that only the resolver
// can have written has the next one asked.
func TestIgnoredAddresses(t *testing.T) {
	forged, err := wire.ParseIgnored([]string{"203.0.113.0/24", "2001:db8:bad::1"})
	if err != nil {
		t.Fatal(err)
	}
	ignore := func(o *options) { o.ignore, o.budget, o.patience = forged, 30*time.Second, 50*time.Millisecond }
	raced := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		w.WriteMsg(replyTo(r, "203.0.113.7"))
		w.WriteMsg(replyTo(r, "203.0.113.8"))
		w.WriteMsg(replyTo(r, "192.0.2.1"))
	})
	good := serve(t, answerWith("192.0.2.2"))
	forger := serve(t, answerWith("203.0.113.9"))
	l := forwarder(t, ignore, raced.String())
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	if n := valueOf(t, mismatchCount.WithLabelValues("vpn", raced.String(), "ignored")); n < 2 {
		t.Errorf("%v ignored answers are counted", n)
	}
	forwarder(t, ignore, forger.String(), good.String()).mustAsk(t, "b.example.org.", "192.0.2.2")
	forwarder(t, ignore, "tcp://"+forger.String(), good.String()).mustAsk(t, "c.example.org.", "192.0.2.2")

	alone := forwarder(t, ignore, "tcp://"+forger.String())
	m, code, err := alone.client(context.Background(), ask("d.example.org.", dns.TypeA))
	if code != dns.RcodeServerFailure || err == nil || !strings.Contains(err.Error(), errIgnored.Error()) {
		t.Errorf("got %v, %d, %v", m, code, err)
	}
	if unhealthy(alone.targets().resolvers[0]) {
		t.Error("a resolver that answers is unhealthy")
	}
}

// With the policy race the next resolver is asked without waiting for the first.
func TestPolicyRace(t *testing.T) {
	first, second := silent(t), serve(t, answerWith("192.0.2.2"))
	l := forwarder(t, func(o *options) { o.policy, o.patience, o.budget = together, time.Hour, time.Minute }, first.String(), second.String())
	l.mustAsk(t, "a.example.org.", "192.0.2.2")
}

// With the policy fastest the resolver comes first whose replies took the least time.
func TestPolicyFastest(t *testing.T) {
	l := forwarder(t, func(o *options) { o.policy = fastest }, silent(t).String(), silent(t).String())
	slow, quick := l.targets().resolvers[0], l.targets().resolvers[1]
	slow.latency.Add(20*time.Millisecond, time.Now())
	quick.latency.Add(10*time.Millisecond, time.Now())
	if got := l.order(l.targets()); got[0] != quick || got[1] != slow {
		t.Errorf("%s is asked first", got[0].name)
	}
}
