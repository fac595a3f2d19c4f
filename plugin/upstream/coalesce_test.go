package upstream

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestCoalesce(t *testing.T) {
	const clients = 100
	release := make(chan struct{})
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) { <-release; w.WriteMsg(replyTo(r, "192.0.2.1")) })
	l := forwarder(t, func(o *options) { o.timeout, o.budget = 10*time.Second, 10*time.Second }, s.String())
	coalesced := valueOf(t, l.metrics.coalesced)
	names := []string{"same.example.org.", "SAME.example.org.", "sAmE.Example.ORG."}
	var mu sync.Mutex
	var answers []*dns.Msg
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			r := ask(names[i%len(names)], dns.TypeA)
			if i%2 == 0 { // options end here, so they do not tell queries apart
				r.SetEdns0(uint16(512+i), false)
				r.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}}
			}
			m := l.send(t, r)
			if m.Id != r.Id || m.Question[0] != r.Question[0] || (m.IsEdns0() == nil) != (r.IsEdns0() == nil) {
				t.Errorf("answer does not fit the question:\n%v", m)
			}
			mu.Lock()
			answers = append(answers, m)
			mu.Unlock()
		})
	}
	within(t, 5*time.Second, "all ask", func() bool { return l.asking.Load() == clients })
	time.Sleep(20 * time.Millisecond)
	close(release)
	wg.Wait()
	if s.hits() != 1 {
		t.Errorf("%d queries were sent for %d clients, want 1", s.hits(), clients)
	}
	if n := valueOf(t, l.metrics.coalesced) - coalesced; n != clients-1 {
		t.Errorf("counted %v coalesced, want %d", n, clients-1)
	}
	for _, m := range answers { // nobody's answer is anybody else's
		if m.Answer[0].Header().Ttl != 3600 {
			t.Error("answers share their records")
		}
		m.Answer[0].Header().Ttl = 1
	}
}

// What makes a difference to the answer makes another query.
func TestNotCoalesced(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) { <-release; w.WriteMsg(replyTo(r, "192.0.2.1")) })
	l := forwarder(t, func(o *options) { o.timeout, o.budget = 10*time.Second, 10*time.Second }, s.String())
	kinds := []func(*dns.Msg){
		func(m *dns.Msg) {},
		func(m *dns.Msg) { m.SetEdns0(1232, true) },
		func(m *dns.Msg) { m.CheckingDisabled = true },
		func(m *dns.Msg) { m.AuthenticatedData = true },
		func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT },
		func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		func(m *dns.Msg) { m.Question[0].Name = "other.example.org." },
	}
	var wg sync.WaitGroup
	for _, kind := range kinds {
		wg.Go(func() {
			r := ask("same.example.org.", dns.TypeA)
			kind(r)
			l.send(t, r)
		})
	}
	within(t, 5*time.Second, "all were sent", func() bool { return s.hits() == int64(len(kinds)) })
	close(release)
	wg.Wait()
}

// The client that began leaves; those who joined get the answer all the same.
func TestLeaderLeaves(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) { <-release; w.WriteMsg(replyTo(r, "192.0.2.1")) })
	l := forwarder(t, func(o *options) { o.timeout, o.budget = 10*time.Second, 10*time.Second }, s.String())
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { l.client(ctx, ask("a.example.org.", dns.TypeA)) })
	within(t, 5*time.Second, "the first has asked", func() bool { return s.hits() == 1 })
	wg.Go(func() { l.wantAddr(t, "a.example.org.", "192.0.2.1") })
	impatient, leave := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer leave()
	wg.Go(func() {
		if _, _, err := l.client(impatient, ask("a.example.org.", dns.TypeA)); err == nil {
			t.Error("one who left has an answer")
		}
	})
	within(t, 5*time.Second, "all have joined", func() bool { return l.asking.Load() == 3 })
	cancel()
	<-impatient.Done()
	close(release)
	wg.Wait()
	if s.hits() != 1 {
		t.Errorf("%d queries were sent, want 1", s.hits())
	}
}
