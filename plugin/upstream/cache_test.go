package upstream

import (
	"context"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/cache"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	sharedquery "github.com/nameroute/nameroute/plugin/pkg/query"
)

// cached asks through CoreDNS's own cache, as in a block with route above it.
func (l *lab) cached(c *cache.Cache, m *dns.Msg) (*dns.Msg, int, error) {
	c.Next = l.Upstream
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	reason := &sharedquery.Reason{Context: context.Background()}
	code, err := c.ServeDNS(reason, rec, m)
	if err == nil {
		err = reason.Why()
	}
	return rec.Msg, code, err
}

func speakingEDNS(m *dns.Msg) *dns.Msg { m.SetEdns0(1232, false); return m }

// What was never sent is no failure of resolution: nothing of it is remembered, so that the
// names in use come back together with the route.
func TestCacheForgetsWhatWasNotSent(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	for _, tc := range []struct {
		what  string
		cause func(*lab)
		err   string
	}{
		{"down", func(l *lab) { l.change(func(s *Status) { s.Down = true }) }, "route vpn is down"},
		{"no resolvers", func(l *lab) { l.opts.addresses = nil; l.change(func(s *Status) { s.V6 = !s.V6 }) },
			"route vpn has no resolvers: name addresses in the Corefile, or DNS = in the provider's file"},
	} {
		l, c := forwarder(t, nil, s.String()), cache.New()
		addresses := l.opts.addresses
		tc.cause(l)
		for _, m := range []*dns.Msg{ask("a.example.org.", dns.TypeA), speakingEDNS(ask("a.example.org.", dns.TypeA)), speakingEDNS(ask("a.example.org.", dns.TypeA))} {
			m, code, err := l.cached(c, m)
			if m != nil || code != dns.RcodeServerFailure || err == nil || err.Error() != tc.err {
				t.Errorf("%s: %v, %d, %v; want SERVFAIL and the reason each time", tc.what, m, code, err)
			}
		}
		l.opts.addresses = addresses
		l.change(func(s *Status) { s.Down, s.V6 = false, true })
		for _, m := range []*dns.Msg{ask("a.example.org.", dns.TypeA), speakingEDNS(ask("a.example.org.", dns.TypeA))} {
			if m, _, err := l.cached(c, m); addrOf(m) != "192.0.2.1" {
				t.Errorf("%s has ended: %v, %v", tc.what, m, err)
			}
		}
	}
}

// Resolvers that were asked and did not answer are left alone for the time that cache keeps
// a failure: RFC 9520, section 3.2. The first client is told why by the handler above.
func TestCacheKeepsWhatGotNoAnswer(t *testing.T) {
	s := silent(t)
	for _, edns := range []bool{true, false} {
		l, c := forwarder(t, func(o *options) { o.timeout, o.budget = 50*time.Millisecond, 100*time.Millisecond }, s.String()), cache.New()
		r := ask("a.example.org.", dns.TypeA)
		if edns {
			speakingEDNS(r)
		}
		m, code, err := l.cached(c, r)
		if err == nil || m != nil || code != dns.RcodeServerFailure {
			t.Errorf("EDNS %v: %v, %d, %v", edns, m, code, err)
		}
		before := s.hits()
		if m, _, err := l.cached(c, r); m == nil || m.Rcode != dns.RcodeServerFailure || err != nil || s.hits() != before {
			t.Errorf("EDNS %v, again: %v, %v and %d more queries", edns, m, err, s.hits()-before)
		}
	}
}

// A client that does not want recursion gets what all others get, and leaves nothing else in
// the cache, which knows no difference between the two.
func TestRecursionIsAlwaysDesired(t *testing.T) {
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		if !r.RecursionDesired {
			w.WriteMsg(new(dns.Msg).SetReply(r)) // a referral, in short
			return
		}
		w.WriteMsg(replyTo(r, "192.0.2.1"))
	})
	l, c := forwarder(t, nil, s.String()), cache.New()
	for _, rd := range []bool{false, true, false} {
		r := ask("a.example.org.", dns.TypeA)
		r.RecursionDesired = rd
		if m, _, err := l.cached(c, r); addrOf(m) != "192.0.2.1" || m.RecursionDesired != rd {
			t.Errorf("RD %v: %v, %v", rd, m, err)
		}
	}
	if s.hits() != 1 {
		t.Errorf("%d queries sent, want 1", s.hits())
	}
}
