package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/explain"
	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
)

// AD is passed on only where no other host can have written it. Whether CD and DO reach the
// resolver, TestQueryAndAnswer knows.
func TestAuthenticData(t *testing.T) {
	validated := func(w dns.ResponseWriter, r *dns.Msg) {
		m := replyTo(r, "192.0.2.1")
		m.AuthenticatedData = r.AuthenticatedData || r.IsEdns0().Do()
		w.WriteMsg(m)
	}
	ca := newAuthority(t)
	overTLS, _ := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.sign(t, time.Now().Add(time.Hour), []string{"dns.example.org"})}}, validated)
	trusting := func(o *options) { o.trust.Config, o.trust.Name = &tls.Config{RootCAs: ca.pool}, "dns.example.org" }
	r := ask("a.example.org.", dns.TypeA)
	r.SetEdns0(1232, true)
	for _, c := range []struct {
		what   string
		change func(*options)
		addr   string
	}{
		{"loopback", nil, serve(t, validated).String()},
		{"TLS", trusting, "tls://" + overTLS},
	} {
		m, _, err := forwarder(t, c.change, c.addr).client(context.Background(), r)
		if err != nil || !m.AuthenticatedData {
			t.Errorf("%s: %v, %v", c.what, m, err)
		}
	}
	for _, c := range []struct {
		addr  string
		trust bool
		want  bool
	}{
		{"192.0.2.53", false, false},
		{"192.0.2.53", true, true},
		{"tcp://[2001:db8::53]", false, false},
		{"tls://192.0.2.53", false, true},
		{"127.0.0.1:5335", false, true},
		{"[::1]:5335", false, true},
	} {
		a, err := address.Parse(c.addr)
		if err != nil {
			t.Fatal(err)
		}
		from := newResolver(key{Address: a, mark: vpnMark}, "vpn", &options{trustAD: c.trust, trust: trust.Options{Config: &tls.Config{RootCAs: x509.NewCertPool()}}}, at(a.Addr))
		m := &dns.Msg{MsgHdr: dns.MsgHdr{AuthenticatedData: true}}
		ra := &race{}
		if ra.answered(from, m); ra.best.msg.AuthenticatedData != c.want {
			t.Errorf("%s, trust_ad %v: AD is %v", c.addr, c.trust, !c.want)
		}
	}
}

// What a validating resolver says of a bogus answer stays SERVFAIL, and its reason reaches
// the client.
func TestBogusIsExplained(t *testing.T) {
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetRcode(r, dns.RcodeServerFailure)
		m.SetEdns0(1232, true)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "signature expired"}}
		w.WriteMsg(m)
	})
	l := forwarder(t, nil, s.String())
	r := ask("bogus.example.org.", dns.TypeA)
	r.SetEdns0(1232, true)
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	drop := plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		return l.ServeDNS(ctx, withoutOptions{w}, r)
	})
	if _, err := (&explain.Handler{Next: drop}).ServeDNS(context.Background(), rec, r); err != nil {
		t.Fatal(err)
	}
	opt := rec.Msg.IsEdns0()
	if rec.Msg.Rcode != dns.RcodeServerFailure || opt == nil || len(opt.Option) != 1 || opt.Option[0].(*dns.EDNS0_EDE).InfoCode != dns.ExtendedErrorCodeDNSBogus {
		t.Errorf("answered %v", rec.Msg)
	}
}

// Who this resolver is is no other resolver's to say (RFC 9462, section 6.4).
func TestResolverArpaIsNotForwarded(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, nil, s.String())
	for _, name := range []string{"_dns.resolver.arpa.", "RESOLVER.arpa."} {
		m, _, err := l.client(context.Background(), ask(name, dns.TypeSVCB))
		if err != nil || m.Rcode != dns.RcodeSuccess || len(m.Answer) > 0 || len(m.Ns) != 1 {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if n := s.udp.Load(); n != 0 {
		t.Errorf("%d queries were forwarded", n)
	}
}

// withoutOptions drops EDNS, as CoreDNS's cache does.
type withoutOptions struct{ dns.ResponseWriter }

func (w withoutOptions) WriteMsg(m *dns.Msg) error {
	out := *m
	out.Extra = nil
	return w.ResponseWriter.WriteMsg(&out)
}
