package upstream

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// slow answers after d, with the address.
func slow(t *testing.T, d time.Duration, addr string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, r *dns.Msg) {
		select {
		case <-time.After(d):
			w.WriteMsg(replyTo(r, addr))
		case <-t.Context().Done():
		}
	}
}

// Of a dead, a slow, a failing and a good resolver each client gets the good one's answer, in
// whatever order they are written and however many ask at once. Nothing waits for one that
// is silent, and none is asked by every query for long.
func TestOneGoodResolverIsEnough(t *testing.T) {
	const clients = 20
	for _, order := range []string{"DLSG", "DSLG", "LDSG", "LSDG", "SDLG", "SLDG", "DLGS", "DGLS", "LDGS", "GDLS", "DGSL", "SDGL"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			servers := map[rune]*server{
				'D': silent(t), 'L': serve(t, slow(t, 2*time.Minute, "192.0.2.9")), 'S': serve(t, withRcode(dns.RcodeServerFailure)), 'G': serve(t, answerWith("192.0.2.1")),
			}
			var addrs []string
			for _, c := range order {
				addrs = append(addrs, servers[c].String())
			}
			l := forwarder(t, func(o *options) {
				o.timeout, o.budget, o.interval, o.patience = time.Minute, 2*time.Minute, time.Hour, 0
			}, addrs...)
			began := time.Now()
			var wg sync.WaitGroup
			for i := range clients {
				wg.Go(func() { l.wantAddr(t, fmt.Sprintf("n%d.example.org.", i), "192.0.2.1") })
			}
			wg.Wait()
			if took := time.Since(began); took > 30*time.Second { // the usual is 0.2 s
				t.Errorf("took %s: a silent resolver was waited for", took)
			}
			// Those that are silent are now known to be: the next query does not wait for them.
			l.mustAsk(t, "next.example.org.", "192.0.2.1")
			for _, m := range append(servers['D'].all(), servers['L'].all()...) {
				if strings.EqualFold(m.Question[0].Name, "next.example.org.") {
					t.Error("a silent resolver was asked again")
				}
			}
		})
	}
}

// Over a stream the next resolver is asked as well while one is silent.
func TestSilentStreamIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	dead, good := silent(t), serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, func(o *options) { o.timeout, o.budget, o.patience = 9*time.Second, time.Minute, 0 }, "tcp://"+dead.String(), "tcp://"+good.String())
	began := time.Now()
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("took %s", took)
	}
}

// A resolver that answers is the only one that is asked, once for each query.
func TestOneResolverIsAskedWhereItAnswers(t *testing.T) {
	t.Parallel()
	first, second := serve(t, answerWith("192.0.2.1")), serve(t, answerWith("192.0.2.2"))
	l := forwarder(t, func(o *options) { o.timeout, o.patience = 6*time.Second, 0 }, first.String(), second.String())
	l.mustAsk(t, "warm.example.org.", "192.0.2.1")
	for i := range 200 {
		l.mustAsk(t, fmt.Sprintf("n%d.example.org.", i), "192.0.2.1")
	}
	// A packet that a busy machine was late with is no doubled load.
	if n, other := first.hits(), second.hits(); n > 205 || other > 4 {
		t.Errorf("%d and %d packets for 201 queries", n, other)
	}
}

// A reply that takes longer than the timeout, and longer than the query was sent again
// by other means, is still the answer.
func TestLateReplyIsHeard(t *testing.T) {
	t.Parallel()
	failing, dead := serve(t, withRcode(dns.RcodeServerFailure)), silent(t)
	for _, s := range []*server{serve(t, slow(t, 700*time.Millisecond, "192.0.2.1")), serveOn(t, "[::1]:0", slow(t, 700*time.Millisecond, "192.0.2.1"))} {
		for _, addrs := range [][]string{{s.String()}, {"tcp://" + s.String()}, {dead.String(), s.String(), failing.String()}} {
			l := forwarder(t, func(o *options) {
				o.timeout, o.budget, o.maxFails, o.patience = 200*time.Millisecond, 20*time.Second, 0, 0
			}, addrs...)
			l.mustAsk(t, "a.example.org.", "192.0.2.1")
		}
	}
}

// Packets that are lost are no reason to believe that the resolver lacks something: the
// replies that come after the answer count, too.
func TestLossTeachesNothing(t *testing.T) {
	t.Parallel()
	var lost atomic.Int64
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		if lost.Add(1) <= 2 {
			return // the first two datagrams, as when a tunnel is just coming up
		}
		if r.IsEdns0() == nil {
			time.Sleep(300 * time.Millisecond) // it is sent with one that has EDNS, and must not overtake it
		}
		w.WriteMsg(replyTo(r, "192.0.2.1"))
	})
	l := forwarder(t, func(o *options) { o.timeout, o.budget, o.patience = 3*time.Second, 20*time.Second, 0 }, s.String())
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	r := l.targets().resolvers[0]
	within(t, 30*time.Second, "nothing is in flight", func() bool { return r.health.late.Load() == 0 })
	if lacks := r.capabilities().Lacks &^ wire.Cookies; lacks != 0 {
		t.Errorf("believed to lack %s", lacks)
	}
}

// While a query waits for a silent resolver the route goes down: with on_down: block nothing
// more is sent, and the client hears of it at once.
func TestRouteGoesDownInSilence(t *testing.T) {
	t.Parallel()
	s := silent(t)
	l := forwarder(t, func(o *options) { o.timeout, o.budget, o.patience = 10*time.Second, 50*time.Second, 0 }, s.String())
	began := time.Now()
	time.AfterFunc(300*time.Millisecond, func() { l.change(func(s *Status) { s.Down = true }) })
	_, code, err := l.client(context.Background(), ask("a.example.org.", dns.TypeA))
	if code != dns.RcodeServerFailure || err == nil || !strings.HasSuffix(err.Error(), "route vpn is down") {
		t.Errorf("got %d, %v", code, err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("after %s", took)
	}
	quiet(t, s)
}

// The steps of a query that gets no reply: a handful of packets for each resolver.
func TestStepsAreBounded(t *testing.T) {
	t.Parallel()
	s := silent(t)
	l := forwarder(t, func(o *options) { o.timeout, o.budget, o.patience = 2*time.Second, defaultBudget, 0 }, s.String())
	_, code, err := l.client(context.Background(), ask("a.example.org.", dns.TypeA))
	if code != dns.RcodeServerFailure || err == nil || !strings.Contains(err.Error(), "no reply in 4.5") {
		t.Errorf("got %d, %v", code, err)
	}
	if n := s.hits(); n < 5 || n > 12 {
		t.Errorf("%d packets", n)
	}
	if known := l.targets().resolvers[0].capabilities(); known.Lacks != 0 {
		t.Errorf("silence alone was taken for a lack of %s", known.Lacks)
	}
}

func TestStepAfter(t *testing.T) {
	var got []time.Duration
	for step := range 6 {
		got = append(got, stepAfter(step+1, time.Second))
	}
	if s := fmt.Sprint(got); s != "[1s 2s 3s 5s 9s 17s]" {
		t.Error(s)
	}
}

// Large datagrams that are dropped on the way are not asked for any more.
func TestLargeDatagramsAreLost(t *testing.T) {
	t.Parallel()
	large := func(r *dns.Msg) *dns.Msg {
		m := plain(r)
		for range 12 {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: "x.example.org.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{strings.Repeat("x", 60)}})
		}
		return m
	}
	o := &oddResolver{tcp: large, udp: func(r *dns.Msg) *dns.Msg {
		if !strings.HasPrefix(strings.ToLower(r.Question[0].Name), "large") {
			return plain(r)
		}
		if opt := r.IsEdns0(); opt != nil && opt.UDPSize() > 512 {
			return nil
		}
		m := large(r)
		m.Truncate(512)
		return m
	}}
	o.start(t, "127.0.0.1:0")
	l := forwarder(t, func(o *options) { o.timeout, o.budget, o.patience = 900*time.Millisecond, 20*time.Second, 0 }, o.addr)
	l.mustAsk(t, "small.example.org.", "192.0.2.1")
	r := l.targets().resolvers[0]
	for i := range 2 {
		m, _, err := l.client(context.Background(), ask(fmt.Sprintf("large%d.example.org.", i), dns.TypeTXT))
		if err != nil || m.Truncated || len(m.Answer) != 13 {
			t.Fatalf("%v, %v", m, err)
		}
		within(t, 30*time.Second, "it is remembered", func() bool { return r.capabilities().Lacks&^wire.Cookies == wire.Large })
	}
}

// A step that is due before the race has read that no socket could be opened does nothing.
func TestStepWithoutSocket(t *testing.T) {
	l := &lane{race: &race{opts: &options{}}, r: &resolver{}}
	l.first = &flight{lane: l, pool: &pool{datagram: true}, open: true}
	l.flights = []*flight{l.first}
	for range 4 {
		l.steps++
		l.step(time.Now())
	}
	if len(l.flights) != 1 {
		t.Errorf("%d flights began", len(l.flights)-1)
	}
}

// With the policy race three resolvers are asked at once; a fourth is not, while they are
// waited for.
func TestRaceOfThree(t *testing.T) {
	release := make(chan struct{})
	var servers []*server
	var addrs []string
	for range raced + 1 {
		s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
			<-release
			w.WriteMsg(replyTo(r, "192.0.2.1"))
		})
		servers, addrs = append(servers, s), append(addrs, s.String())
	}
	l := forwarder(t, func(o *options) { o.policy, o.patience, o.budget = together, time.Hour, time.Minute }, addrs...)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		l.wantAddr(t, "a.example.org.", "192.0.2.1")
	}()
	for i, s := range servers[:raced] {
		within(t, 30*time.Second, fmt.Sprintf("resolver %d is asked", i+1), func() bool { return s.hits() == 1 })
	}
	close(release)
	<-answered
	if n := servers[raced].hits(); n != 0 {
		t.Errorf("the fourth was asked %d times", n)
	}
}
