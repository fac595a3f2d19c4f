package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestTransportsAndFamilies(t *testing.T) {
	v4, v6 := serve(t, answerWith("192.0.2.1")), serveOn(t, "[::1]:0", answerWith("192.0.2.1"))
	for _, s := range []*server{v4, v6} {
		forwarder(t, nil, s.String()).mustAsk(t, "a.example.org.", "192.0.2.1")
		forwarder(t, nil, "dns://"+s.String()).mustAsk(t, "a.example.org.", "192.0.2.1")
		if u, n := s.udp.Load(), s.tcp.Load(); u != 2 || n != 0 {
			t.Errorf("%s: %d by udp and %d by tcp, want 2 and 0", s, u, n)
		}
		forwarder(t, nil, "tcp://"+s.String()).mustAsk(t, "a.example.org.", "192.0.2.1")
		forwarder(t, func(o *options) { o.forceTCP = true }, s.String()).mustAsk(t, "a.example.org.", "192.0.2.1")
		if u, n := s.udp.Load(), s.tcp.Load(); u != 2 || n != 2 {
			t.Errorf("%s: %d by udp and %d by tcp, want 2 and 2", s, u, n)
		}
	}
}

// What goes upstream is ours; what goes back is the client's.
func TestQueryAndAnswer(t *testing.T) {
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		m := replyTo(r, "192.0.2.1")
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "61"},
			&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeStaleAnswer, ExtraText: "old"})
		w.WriteMsg(m)
	})
	l := forwarder(t, nil, s.String())
	plain := ask("WwW.eXample.ORG.", dns.TypeA)
	rich := ask("WwW.eXample.ORG.", dns.TypeA)
	rich.RecursionDesired, rich.CheckingDisabled, rich.AuthenticatedData = false, true, true
	rich.SetEdns0(4096, true)
	opt := rich.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
		&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(198, 51, 100, 0).To4()})

	for _, r := range []*dns.Msg{plain, rich} {
		m, code, err := l.client(context.Background(), r)
		if err != nil || code != dns.RcodeSuccess {
			t.Fatal(code, err)
		}
		up := s.last()
		if !strings.EqualFold(up.Question[0].Name, r.Question[0].Name) || up.Question[0].Qtype != dns.TypeA {
			t.Errorf("asked %v, want %v", up.Question[0], r.Question[0])
		}
		if !up.RecursionDesired || up.CheckingDisabled != r.CheckingDisabled || up.AuthenticatedData != r.AuthenticatedData {
			t.Errorf("flags upstream:\n%v", up)
		}
		o := up.IsEdns0()
		if o == nil || o.UDPSize() != 1232 || o.Do() != (r.IsEdns0() != nil) {
			t.Fatalf("EDNS upstream is %v, want size 1232 and the client's DO", o)
		}
		for _, option := range o.Option {
			if c, ok := option.(*dns.EDNS0_COOKIE); !ok || c.Cookie == "0102030405060708" {
				t.Errorf("the client's option %v went upstream", option)
			}
		}
		if m.Id != r.Id || m.Question[0] != r.Question[0] || !m.Response ||
			m.RecursionDesired != r.RecursionDesired || m.CheckingDisabled != r.CheckingDisabled {
			t.Errorf("answer does not fit the question:\n%v", m)
		}
	}
	m, _, _ := l.client(context.Background(), plain)
	if m.IsEdns0() != nil {
		t.Error("a client without EDNS got an OPT record")
	}
	m, _, _ = l.client(context.Background(), rich)
	o := m.IsEdns0()
	if o == nil || !o.Do() || len(o.Option) != 1 || o.Option[0].Option() != dns.EDNS0EDE {
		t.Errorf("EDNS to the client is %v, want DO and the extended error alone", o)
	}
}

func TestRefusedKinds(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, nil, s.String())
	update := new(dns.Msg).SetUpdate("example.org.")
	two := ask("example.org.", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	for _, tc := range []struct {
		m    *dns.Msg
		code int
		err  string
	}{
		{ask("example.org.", dns.TypeAXFR), dns.RcodeNotImplemented, "QUERY AXFR is not forwarded"},
		{ask("example.org.", dns.TypeIXFR), dns.RcodeNotImplemented, "QUERY IXFR is not forwarded"},
		{update, dns.RcodeNotImplemented, "UPDATE SOA is not forwarded"},
		{two, dns.RcodeFormatError, "message has 2 questions, want 1"},
		{&dns.Msg{}, dns.RcodeFormatError, "message has 0 questions, want 1"},
	} {
		m, code, err := l.client(context.Background(), tc.m)
		if m != nil || code != tc.code || err == nil || err.Error() != tc.err {
			t.Errorf("got %v, %d, %v; want %d, %s", m, code, err, tc.code, tc.err)
		}
	}
	if s.hits() != 0 {
		t.Errorf("%d queries were sent", s.hits())
	}
}

// bigAnswer truncates by UDP and answers whole by TCP.
func bigAnswer(w dns.ResponseWriter, r *dns.Msg) {
	m := replyTo(r, "192.0.2.1")
	for i := range 119 {
		rr := *m.Answer[0].(*dns.A)
		rr.A = net.IPv4(198, 51, 100, byte(i))
		m.Answer = append(m.Answer, &rr)
	}
	if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
		m.Truncate(1232)
	}
	w.WriteMsg(m)
}

func TestTruncatedGoesByTCP(t *testing.T) {
	s := serve(t, bigAnswer)
	l := forwarder(t, nil, s.String())
	m, _, err := l.client(context.Background(), ask("big.example.org.", dns.TypeA))
	if err != nil || m.Truncated || len(m.Answer) != 120 {
		t.Fatalf("%d addresses, truncated %v, error %v; want 120", len(m.Answer), m.Truncated, err)
	}
	if s.udp.Load() != 1 || s.tcp.Load() != 1 {
		t.Errorf("%d by udp and %d by tcp, want 1 and 1", s.udp.Load(), s.tcp.Load())
	}
}

// A resolver whose TCP is filtered still gives what fits UDP, marked as truncated.
func TestTruncatedWithoutTCP(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run(t, &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(bigAnswer)})
	l := forwarder(t, nil, pc.LocalAddr().String())
	m, _, err := l.client(context.Background(), ask("big.example.org.", dns.TypeA))
	if err != nil || !m.Truncated || len(m.Answer) == 0 {
		t.Fatalf("%v, %v; want the part that fits, truncated", m, err)
	}
}

// A resolver from before EDNS says FORMERR, some with nothing but a header.
func TestResolverWithoutEDNS(t *testing.T) {
	for _, bare := range []bool{false, true} {
		s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
			if r.IsEdns0() == nil {
				w.WriteMsg(replyTo(r, "192.0.2.1"))
				return
			}
			m := new(dns.Msg).SetRcode(r, dns.RcodeFormatError)
			if bare {
				m.Question = nil
			}
			w.WriteMsg(m)
		})
		forwarder(t, nil, s.String()).mustAsk(t, "a.example.org.", "192.0.2.1")
	}
}

func TestThousandAtOnceOnFewSockets(t *testing.T) {
	const queries = 1000
	all := make(chan struct{})
	var mu sync.Mutex
	asked := map[string]bool{}
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		mu.Lock()
		// A burst overflows the server's receive buffer, and then datagrams are sent twice.
		if fresh := !asked[r.Question[0].Name]; fresh {
			asked[r.Question[0].Name] = true
			if len(asked) == queries {
				close(all) // nobody is answered before all have asked
			}
		}
		mu.Unlock()
		<-all
		w.WriteMsg(replyTo(r, "192.0.2.1"))
	})
	l := forwarder(t, func(o *options) { o.timeout, o.budget = 3*time.Second, 20*time.Second }, s.String())
	var wg sync.WaitGroup
	for i := range queries {
		wg.Go(func() { l.wantAddr(t, fmt.Sprintf("n%d.example.org.", i), "192.0.2.1") })
	}
	wg.Wait()
	if n := s.ports(); n < udpSpread || n > udpMost+2*(ownPortsBurst+ownPorts) {
		t.Errorf("%d sockets for %d queries at once, want few", n, queries)
	}
	t.Logf("%d queries in flight on %d sockets", queries, s.ports())
}

// Ids and source ports are what a forger has to guess.
func TestEntropy(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, nil, s.String())
	const n = 2000
	for i := range n {
		l.mustAsk(t, fmt.Sprintf("n%d.example.org.", i), "192.0.2.1")
	}
	if p := s.ports(); p < ownPortsBurst+(n-ownPortsBurst)/udpUses-udpSpread {
		t.Errorf("%d source ports in %d queries: sockets are not replaced", p, n)
	}
	ids := map[uint16]bool{}
	steps := 0
	seen := s.all()
	for i, m := range seen {
		ids[m.Id] = true
		if i > 0 && m.Id-seen[i-1].Id < 16 {
			steps++
		}
	}
	// 2000 draws of 65536 hit 1970 different ids; 2 of 10,000 runs fall below 1940.
	if len(ids) < 1930 || steps > 20 {
		t.Errorf("%d different ids and %d small steps in %d: not random", len(ids), steps, n)
	}
}

// At the pace of a house each query has a port, an id and a case of its own.
func TestEachQueryHasItsOwnPort(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, nil, s.String())
	cases := map[string]bool{}
	const n = ownPortsBurst / 2
	for range n {
		l.mustAsk(t, "the-same-name.example.org.", "192.0.2.1")
		cases[s.last().Question[0].Name] = true
	}
	// The kernel draws ports at random, so two may be the same: four are, once in a million runs.
	if s.ports() < n-3 || len(cases) < n-3 {
		t.Errorf("%d queries from %d ports with %d cases", n, s.ports(), len(cases))
	}
	within(t, 30*time.Second, "none is left open", func() bool { return ours() == "" })
}

func TestFailover(t *testing.T) {
	for _, tc := range []struct {
		name  string
		first func(t *testing.T) string
	}{
		{"closed port", func(t *testing.T) string { return closedPort(t) }},
		{"closed tcp port", func(t *testing.T) string { return "tcp://" + closedPort(t) }},
		{"silent", func(t *testing.T) string { return silent(t).String() }},
		{"servfail", func(t *testing.T) string { return serve(t, withRcode(dns.RcodeServerFailure)).String() }},
		{"refused", func(t *testing.T) string { return serve(t, withRcode(dns.RcodeRefused)).String() }},
		{"not implemented", func(t *testing.T) string { return serve(t, withRcode(dns.RcodeNotImplemented)).String() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			good := serve(t, answerWith("192.0.2.1"))
			l := forwarder(t, func(o *options) { o.timeout, o.budget, o.patience = time.Minute, 2*time.Minute, 0 }, tc.first(t), good.String())
			start := time.Now()
			l.mustAsk(t, "a.example.org.", "192.0.2.1")
			if d := time.Since(start); d > 30*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
}

// NXDOMAIN is an answer; SERVFAIL from everybody is what the client gets, with what
// the resolver says about it.
func TestNoFailoverBeyondReason(t *testing.T) {
	nx := serve(t, withRcode(dns.RcodeNameError))
	other := serve(t, answerWith("192.0.2.1"))
	m, _, err := forwarder(t, nil, nx.String(), other.String()).client(context.Background(), ask("a.example.org.", dns.TypeA))
	if err != nil || m.Rcode != dns.RcodeNameError || other.hits() != 0 {
		t.Errorf("got %v, %v and %d queries to the second", m, err, other.hits())
	}
	bogus := func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetRcode(r, dns.RcodeServerFailure)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus}}
		w.WriteMsg(m)
	}
	a, b := serve(t, bogus), serve(t, bogus)
	r := ask("a.example.org.", dns.TypeA)
	r.SetEdns0(1232, false)
	m, _, err = forwarder(t, nil, a.String(), b.String()).client(context.Background(), r)
	if err != nil || m.Rcode != dns.RcodeServerFailure {
		t.Fatal(m, err)
	}
	if o := m.IsEdns0(); len(o.Option) != 1 || o.Option[0].(*dns.EDNS0_EDE).InfoCode != dns.ExtendedErrorCodeDNSBogus {
		t.Errorf("the resolver's reason is lost:\n%v", m)
	}
	if a.hits() != 1 || b.hits() != 1 {
		t.Errorf("asked %d and %d times, want once each", a.hits(), b.hits())
	}
}

func TestBudget(t *testing.T) {
	s := silent(t)
	for _, addr := range []string{s.String(), "tcp://" + s.String()} {
		l := forwarder(t, func(o *options) { o.timeout, o.budget = 200*time.Millisecond, 500*time.Millisecond }, addr)
		start := time.Now()
		m, code, err := l.client(context.Background(), ask("a.example.org.", dns.TypeA))
		d := time.Since(start)
		if m != nil || code != dns.RcodeServerFailure || d < 400*time.Millisecond {
			t.Errorf("%s: got %v, %d after %s; want SERVFAIL after 500 ms", addr, m, code, d)
		}
		if err == nil || !strings.HasPrefix(err.Error(), "no answer via route vpn: ") || !strings.Contains(err.Error(), "no reply") {
			t.Errorf("%s: error %q", addr, err)
		}
	}
}

// A datagram that gets lost is sent again, id and all.
func TestLostDatagramIsSentAgain(t *testing.T) {
	var once sync.Once
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		lost := false
		once.Do(func() { lost = true })
		if !lost {
			w.WriteMsg(replyTo(r, "192.0.2.1"))
		}
	})
	l := forwarder(t, func(o *options) { o.timeout, o.budget, o.patience = time.Minute, 2*time.Minute, 0 }, s.String())
	start := time.Now()
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %s, want much less than the timeout", d)
	}
	seen := s.all() // a busy machine has it sent a third time, from another port
	if len(seen) < 2 || seen[0].Id != seen[1].Id || len(seen) == 2 && s.ports() != 1 {
		t.Errorf("%d datagrams from %d ports: want the same one twice", len(seen), s.ports())
	}
}

func TestCancelled(t *testing.T) {
	s := silent(t)
	l := forwarder(t, func(o *options) { o.timeout, o.budget = time.Minute, time.Minute }, s.String())
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	_, code, err := l.client(ctx, ask("a.example.org.", dns.TypeA))
	if d := time.Since(start); d > 30*time.Second || code != dns.RcodeServerFailure || !errors.Is(err, context.Canceled) {
		t.Errorf("got %d, %v after %s; want the cancellation at once", code, err, d)
	}
	if r := l.targets().resolvers[0]; r.health.fails.Load() != 0 {
		t.Error("the resolver was blamed for a client that left")
	}
}

func TestMaxConcurrent(t *testing.T) {
	s := silent(t)
	l := forwarder(t, func(o *options) { o.maxConcurrent = 2 }, s.String())
	before := valueOf(t, l.metrics.rejects)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { l.client(ctx, ask(fmt.Sprintf("n%d.example.org.", i), dns.TypeA)) })
	}
	within(t, time.Second, "two in flight", func() bool { return l.asking.Load() == 2 })
	_, code, err := l.client(context.Background(), ask("third.example.org.", dns.TypeA))
	if code != dns.RcodeRefused || !errors.Is(err, errConcurrent) {
		t.Errorf("got %d, %v; want REFUSED", code, err)
	}
	if n := valueOf(t, l.metrics.rejects) - before; n != 1 {
		t.Errorf("counted %v", n)
	}
	cancel()
	wg.Wait()
}
