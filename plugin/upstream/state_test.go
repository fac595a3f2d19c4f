package upstream

import (
	"context"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	sharedquery "github.com/nameroute/nameroute/plugin/pkg/query"
)

// change replaces the route's state, as the dataplane does.
func (l *lab) change(edit func(*Status)) {
	s := *l.state.Load()
	edit(&s)
	l.state.Store(&s)
}

func TestRouteDownFailsAtOnce(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, nil, s.String())
	refusals := valueOf(t, l.metrics.refusals)
	l.change(func(s *Status) { s.Down = true })

	m, code, err := l.client(context.Background(), ask("a.example.org.", dns.TypeA))
	if m != nil || code != dns.RcodeServerFailure || err == nil || err.Error() != "route vpn is down" {
		t.Errorf("without EDNS: %v, %d, %v", m, code, err)
	}
	r := ask("a.example.org.", dns.TypeA)
	r.SetEdns0(4096, true)
	// Not written with EDNS either: what is written, cache keeps when the route is back.
	m, code, err = l.client(context.Background(), r)
	if m != nil || code != dns.RcodeServerFailure || err == nil || err.Error() != "route vpn is down" {
		t.Errorf("with EDNS: %v, %d, %v", m, code, err)
	}
	if s.hits() != 0 || s.probes.Load() != 0 {
		t.Errorf("%d queries and %d probes were sent", s.hits(), s.probes.Load())
	}
	if n := valueOf(t, l.metrics.refusals) - refusals; n != 2 {
		t.Errorf("counted %v refusals, want 2", n)
	}

	l.change(func(s *Status) { s.Down = false })
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
}

// A query in flight when the route goes down does not go to the next resolver.
func TestRouteGoesDownMeanwhile(t *testing.T) {
	asked := make(chan struct{}, 10)
	first := serve(t, func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
	second := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, nil, first.String(), second.String())
	go func() {
		<-asked
		l.change(func(s *Status) { s.Down = true })
	}()
	_, code, err := l.client(context.Background(), ask("a.example.org.", dns.TypeA))
	if code != dns.RcodeServerFailure || err == nil || err.Error() != "route vpn is down" || second.hits() != 0 {
		t.Errorf("got %d, %v and %d queries to the second resolver", code, err, second.hits())
	}
}

func TestFallback(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, nil, s.String())
	l.change(func(s *Status) { s.Route.OnDown = gateway.FallBack })
	if m := l.mustAsk(t, "a.example.org.", "192.0.2.1"); m.Answer[0].Header().Ttl != 3600 {
		t.Errorf("TTL %d while the route is up", m.Answer[0].Header().Ttl)
	}
	if got := l.targets().resolvers[0].mark; got != vpnMark {
		t.Errorf("asked with mark %s, want %s", got, vpnMark)
	}
	l.change(func(s *Status) { s.Down = true })
	if m := l.mustAsk(t, "a.example.org.", "192.0.2.1"); m.Answer[0].Header().Ttl != gateway.FallbackMaxTTL {
		t.Errorf("TTL %d while the route is down, want %d", m.Answer[0].Header().Ttl, gateway.FallbackMaxTTL)
	}
	if got := l.targets().resolvers[0].mark; got != wanMark {
		t.Errorf("asked with mark %s, want %s", got, wanMark)
	}
	l.change(func(s *Status) { s.Down = false })
	if m := l.mustAsk(t, "a.example.org.", "192.0.2.1"); m.Answer[0].Header().Ttl != 3600 {
		t.Errorf("TTL %d after the route is back", m.Answer[0].Header().Ttl)
	}
	if got := l.targets().resolvers[0].mark; got != vpnMark {
		t.Errorf("asked with mark %s after the route is back, want %s", got, vpnMark)
	}
}

// A provider's resolvers are known inside its tunnel: via the WAN others are asked.
func TestOwnResolvers(t *testing.T) {
	own, other, wan := serve(t, answerWith("192.0.2.1")), serve(t, answerWith("192.0.2.2")), serve(t, answerWith("192.0.2.3"))
	l := forwarder(t, nil)
	_, code, err := l.client(context.Background(), ask("a.example.org.", dns.TypeA))
	if want := "route vpn has no resolvers: name addresses in the Corefile, or DNS = in the provider's file"; code != dns.RcodeServerFailure || err == nil || err.Error() != want {
		t.Errorf("got %d, %v; want %s", code, err, want)
	}
	l.change(func(s *Status) {
		s.Resolvers, s.WANResolvers = []netip.AddrPort{own.addr}, []netip.AddrPort{wan.addr}
		s.Route.OnDown = gateway.FallBack
	})
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	l.change(func(s *Status) { s.Resolvers = []netip.AddrPort{other.addr} })
	l.mustAsk(t, "a.example.org.", "192.0.2.2")
	l.change(func(s *Status) { s.Down = true })
	l.mustAsk(t, "a.example.org.", "192.0.2.3")
	if own.hits() != 1 || other.hits() != 1 || wan.hits() != 1 {
		t.Errorf("asked %d, %d, %d times", own.hits(), other.hits(), wan.hits())
	}
	l.change(func(s *Status) { s.WANResolvers = nil })
	if _, _, err := l.client(context.Background(), ask("a.example.org.", dns.TypeA)); err == nil ||
		err.Error() != "route vpn has no resolvers: name addresses in the Corefile, or wan_resolvers in gateway.yaml" {
		t.Errorf("got %v", err)
	}
}

// What the route's link was given takes the place of the word dhcp, whatever the route's own resolvers
// are; while the route falls back, the WAN's do.
func TestHandedOut(t *testing.T) {
	l := forwarder(t, func(o *options) { o.handed, o.handedAt = true, 1 }, "192.0.2.1", "192.0.2.3")
	list := func(words ...string) (all []netip.AddrPort) {
		for _, w := range words {
			all = append(all, netip.MustParseAddrPort(w))
		}
		return all
	}
	want := func(when, want string) {
		t.Helper()
		var got []string
		for _, r := range l.targets().resolvers {
			got = append(got, r.Addr.Addr().String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", when, got, want)
		}
	}
	want("nothing yet", "192.0.2.1 192.0.2.3")
	l.change(func(s *Status) {
		s.Resolvers, s.Handed, s.WANResolvers = list("192.0.2.9:53"), list("192.0.2.2:53", "[2001:db8::2]:53"), list("198.51.100.53:53")
		s.Route.OnDown = gateway.FallBack
	})
	want("given", "192.0.2.1 192.0.2.2 2001:db8::2 192.0.2.3")
	l.change(func(s *Status) { s.Down = true })
	want("down", "192.0.2.1 198.51.100.53 192.0.2.3")
}

// A family that the route has not is asked last; sockets stay while nothing changes.
func TestTargets(t *testing.T) {
	l := forwarder(t, nil, "192.0.2.53", "[2001:db8::53]:53")
	first := l.targets()
	l.change(func(s *Status) {})
	if again := l.targets(); again == first || again.round != first.round || again.resolvers[0] != first.resolvers[0] {
		t.Error("an equal status made new resolvers")
	}
	l.change(func(s *Status) { s.V4 = false })
	now := l.targets()
	if now.round == first.round || now.resolvers[0] != first.resolvers[1] || now.resolvers[1] != first.resolvers[0] {
		t.Errorf("order without IPv4: %v", now.resolvers)
	}
	if first.resolvers[0].ctx.Err() != nil {
		t.Error("a resolver that is still asked was closed")
	}
	l.change(func(s *Status) { s.Down = true })
	if now := l.targets(); len(now.resolvers) != 0 || first.resolvers[0].ctx.Err() == nil {
		t.Error("a route that is down still has resolvers")
	}
}

func TestWithoutIPv6(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, nil, s.String())
	ctx := sharedquery.ContextWithoutIPv6(context.Background())
	r := ask("WWW.example.org.", dns.TypeAAAA)
	r.SetEdns0(1232, true)
	m, code, err := l.client(ctx, r)
	if err != nil || code != dns.RcodeSuccess || m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 || s.hits() != 0 {
		t.Fatalf("got %v, %d, %v with %d queries sent", m, code, err, s.hits())
	}
	want := "WWW.example.org.\t60\tIN\tSOA\tWWW.example.org. nobody.invalid. 1 3600 1200 604800 60"
	if len(m.Ns) != 1 || m.Ns[0].String() != want {
		t.Errorf("authority %v, want %s", m.Ns, want)
	}
	if m.Id != r.Id || m.Question[0] != r.Question[0] || !m.RecursionAvailable || m.IsEdns0() == nil {
		t.Errorf("answer does not fit the question:\n%v", m)
	}
	for _, other := range []struct {
		ctx   context.Context
		qtype uint16
	}{{ctx, dns.TypeA}, {ctx, dns.TypeHTTPS}, {context.Background(), dns.TypeAAAA}} {
		before := s.hits()
		if _, _, err := l.client(other.ctx, ask("www.example.org.", other.qtype)); err != nil || s.hits() != before+1 {
			t.Errorf("type %d: %v, %d queries sent", other.qtype, err, s.hits()-before)
		}
	}
}

// Shutdown ends every goroutine and socket, and does not wait for what is in flight, which
// is answered all the same.
func TestShutdown(t *testing.T) {
	for _, transport := range []string{"", "tcp://"} {
		asked, release := make(chan struct{}, 100), make(chan struct{})
		slow := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
			if strings.EqualFold(r.Question[0].Name, "slow.example.org.") {
				asked <- struct{}{}
				<-release
			}
			w.WriteMsg(replyTo(r, "192.0.2.1"))
		})
		l := forwarder(t, func(o *options) { o.expire = time.Hour }, closedPort(t), transport+slow.String())
		for range 3 {
			l.mustAsk(t, "a.example.org.", "192.0.2.1")
		}
		answered := make(chan string, 1)
		go func() {
			m, _, _ := l.client(context.Background(), ask("slow.example.org.", dns.TypeA))
			answered <- addrOf(m)
		}()
		<-asked
		if err := l.onShutdown(); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if len(answered) > 0 {
			t.Error("shutdown has waited for the query in flight")
		}
		close(release)
		if got := <-answered; got != "192.0.2.1" {
			t.Errorf("the query in flight got %q", got)
		}
		// A handler that CoreDNS did not wait for is served, too, and leaves nothing behind.
		l.mustAsk(t, "late.example.org.", "192.0.2.1")
		within(t, 2*time.Second, "all goroutines have ended", func() bool { return ours() == "" })
	}
}

// ours lists the goroutines that stand in this package's code, tests aside.
func ours() string {
	buf := make([]byte, 1<<20)
	var left []string
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "plugin/upstream.(*socket)") || strings.Contains(g, "plugin/upstream.(*resolver)") || strings.Contains(g, "plugin/upstream.(*pool)") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}
