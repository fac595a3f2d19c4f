package upstream

import (
	"context"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
)

func TestReport(t *testing.T) {
	first, second := silent(t), serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, func(o *options) {
		o.timeout, o.maxFails, o.interval, o.patience = 900*time.Millisecond, 1, time.Hour, 0
	}, first.String(), second.String())
	for _, s := range l.report() {
		if s.Asked != 0 || s.Answered != 0 || !s.Healthy || s.Latency != 0 || !s.LastSeen.IsZero() || s.Route != "vpn" {
			t.Errorf("before any question: %+v", s)
		}
	}
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	l.mustAsk(t, "b.example.org.", "192.0.2.1")
	within(t, 5*time.Second, "the silent one is unhealthy", func() bool { return !l.report()[0].Healthy })
	got := l.report()
	if len(got) != 2 {
		t.Fatalf("%d resolvers, want 2: %+v", len(got), got)
	}
	if s := got[0]; s.Address != first.String() || s.Healthy || s.Asked < 1 || s.Answered != 0 || s.Latency != 0 {
		t.Errorf("the silent one: %+v", s)
	}
	if s := got[1]; s.Address != second.String() || !s.Healthy || s.Asked < 2 || s.Answered < 2 || s.Latency <= 0 || time.Since(s.LastSeen) > time.Minute {
		t.Errorf("the other one: %+v", s)
	}

	l.change(func(s *Status) { s.Down = true })
	if got := l.report(); len(got) != 0 {
		t.Errorf("a blocked route still asks %+v", got)
	}
	l.change(func(s *Status) { s.Route.OnDown = gateway.FallBack })
	if got := l.report(); len(got) != 2 || !got[0].Fallback || !got[1].Fallback {
		t.Errorf("via the WAN: %+v", got)
	}
	if _, code, err := l.client(context.Background(), ask("c.example.org.", dns.TypeA)); code != dns.RcodeSuccess || err != nil {
		t.Errorf("via the WAN: %d, %v", code, err)
	}
}

func TestLatencyIsSmoothed(t *testing.T) {
	var tr traffic
	tr.heard(80 * time.Millisecond)
	if got := time.Duration(tr.latency.Load()); got != 80*time.Millisecond {
		t.Errorf("the first answer's time: %v", got)
	}
	tr.heard(160 * time.Millisecond)
	if got := time.Duration(tr.latency.Load()); got != 90*time.Millisecond {
		t.Errorf("after a slower one: %v, want 90ms", got)
	}
}
