package upstream

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/nameroute/nameroute/plugin/upstream/trust"
)

// far is a resolver of one of the transports with streams, on loopback.
type far struct {
	scheme string
	cert   tls.Certificate
	port   int
	conns  atomic.Int64
	ended  atomic.Int64 // connections that the client closed
	asked  atomic.Int64
	answer atomic.Pointer[http.HandlerFunc] // of HTTP; nil: as dns says
	vanish func()                           // without a word to its clients
}

func (f *far) address(name string) string {
	path := ""
	if f.scheme != "quic" {
		path = "/dns-query"
	}
	return fmt.Sprintf("%s://127.0.0.1%%%s:%d%s", f.scheme, name, f.port, path)
}

var schemes = []string{"https", "h3", "quic"}

// serveFar starts a resolver that answers with an address.
func serveFar(t testing.TB, scheme string, cert tls.Certificate, addr string) *far {
	t.Helper()
	return serveFarAt(t, scheme, cert, addr, "127.0.0.1:0")
}

func serveFarAt(t testing.TB, scheme string, cert tls.Certificate, addr, at string) *far {
	t.Helper()
	f := &far{scheme: scheme, cert: cert}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		if h := f.answer.Load(); h != nil {
			(*h)(w, r)
			return
		}
		if r.Method != http.MethodPost || r.URL.Path != "/dns-query" || r.Header.Get("Content-Type") != "application/dns-message" || r.UserAgent() != "" {
			t.Errorf("request: %s %s %v", r.Method, r.URL, r.Header)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // who asked has gone
		}
		w.Header().Set("Content-Type", "application/dns-message")
		w.Write(f.reply(t, body, addr))
	})
	switch scheme {
	case "https":
		ln, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		f.port = ln.Addr().(*net.TCPAddr).Port
		s := &http.Server{Handler: handler, TLSConfig: cfg, ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				f.conns.Add(1)
			case http.StateClosed:
				f.ended.Add(1)
			}
		}}
		go s.ServeTLS(ln, "", "")
		f.vanish = func() { s.Close() }
	case "h3":
		pc := listenUDP(t, at)
		f.port = pc.LocalAddr().(*net.UDPAddr).Port
		s := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(cfg), ConnContext: func(ctx context.Context, c *quic.Conn) context.Context {
			f.count(c)
			return ctx
		}}
		go s.Serve(pc)
		f.vanish = func() { pc.Close() }
		t.Cleanup(func() { s.Close() })
	case "quic":
		pc := listenUDP(t, at)
		f.port = pc.LocalAddr().(*net.UDPAddr).Port
		cfg.NextProtos = []string{"doq"}
		ln, err := quic.Listen(pc, cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		go f.serveDoQ(t, ln, addr)
		f.vanish = func() { pc.Close() }
		t.Cleanup(func() { ln.Close() })
	}
	t.Cleanup(f.vanish)
	return f
}

func (f *far) count(c *quic.Conn) {
	f.conns.Add(1)
	context.AfterFunc(c.Context(), func() { f.ended.Add(1) })
}

func listenUDP(t testing.TB, at string) net.PacketConn {
	t.Helper()
	pc, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

func (f *far) serveDoQ(t testing.TB, ln *quic.Listener, addr string) {
	for {
		c, err := ln.Accept(context.Background())
		if err != nil {
			return
		}
		f.count(c)
		go func() {
			for {
				s, err := c.AcceptStream(context.Background())
				if err != nil {
					return
				}
				go func() {
					f.asked.Add(1)
					framed, err := io.ReadAll(s) // to the end of the stream, which must come
					if err != nil || len(framed) < 2 || int(binary.BigEndian.Uint16(framed)) != len(framed)-2 {
						return
					}
					b := f.reply(t, framed[2:], addr)
					s.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
					s.Close()
				}()
			}
		}()
	}
}

func (f *far) reply(t testing.TB, query []byte, addr string) []byte {
	m := new(dns.Msg)
	if err := m.Unpack(query); err != nil || m.Id != 0 || len(query)%128 != 0 {
		t.Errorf("%s: a query of %d bytes with id %d: %v", f.scheme, len(query), m.Id, err)
		return nil
	}
	answer := replyTo(m, addr)
	if strings.HasPrefix(m.Question[0].Name, "big.") {
		answer.Answer = slices.Repeat(answer.Answer, 120)
	}
	b, err := answer.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

func pinOf(t testing.TB, c tls.Certificate) trust.Pin {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return trust.Pin(sha256.Sum256(leaf.RawSubjectPublicKeyInfo))
}

// overStreams runs a test with each of schemes: with a resolver, and a forwarder to it.
func overStreams(t *testing.T, set func(*options, *far), test func(*testing.T, *far, *lab)) {
	ca := newAuthority(t)
	cert := ca.sign(t, time.Now().Add(time.Hour), []string{"dns.example.org"})
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			f := serveFar(t, scheme, cert, "192.0.2.1")
			test(t, f, forwarder(t, func(o *options) {
				o.trust.Config = &tls.Config{RootCAs: ca.pool}
				set(o, f)
			}, f.address("dns.example.org")))
		})
	}
}

// Queries over HTTPS, HTTP/3 and QUIC are padded, have the id 0, share a connection, and their
// answers are the client's.
func TestStreamsOfTheirOwn(t *testing.T) {
	overStreams(t, func(o *options, f *far) {
		o.trust.Pins = []trust.Pin{pinOf(t, f.cert)}
		o.timeout, o.budget = 10*time.Second, 30*time.Second
	}, func(t *testing.T, f *far, l *lab) {
		done := make(chan bool)
		for i := range 20 {
			go func() {
				l.wantAddr(t, fmt.Sprintf("N%d.Example.org.", i), "192.0.2.1")
				done <- true
			}()
		}
		for range 20 {
			<-done
		}
		if f.conns.Load() != 1 || f.asked.Load() != 20 {
			t.Errorf("%d connections for %d queries", f.conns.Load(), f.asked.Load())
		}
		if s := l.report()[0]; s.Answered != 20 || !s.Healthy {
			t.Errorf("status %+v", s)
		}
	})
}

// A resolver that vanishes without a word and is there again costs a query that was sent in
// between, at most: connections on which nothing is heard are not used again.
func TestResolverOfStreamsVanishes(t *testing.T) {
	overStreams(t, func(o *options, _ *far) {
		o.timeout, o.budget, o.expire, o.maxFails = time.Second, 30*time.Second, time.Minute, 0
	}, func(t *testing.T, f *far, l *lab) {
		within(t, 30*time.Second, "the resolver answers", func() bool {
			m, _, _ := l.client(context.Background(), ask("a.example.org.", dns.TypeA))
			return addrOf(m) == "192.0.2.1"
		})
		f.vanish()
		serveFarAt(t, f.scheme, f.cert, "192.0.2.2", fmt.Sprintf("127.0.0.1:%d", f.port))
		within(t, 30*time.Second, "the new one answers", func() bool {
			m, _, _ := l.client(context.Background(), ask("b.example.org.", dns.TypeA))
			return addrOf(m) == "192.0.2.2"
		})
	})
}

// Connections close when the route moves, and when they are idle.
func TestStreamsCloseWithTheRoute(t *testing.T) {
	overStreams(t, func(o *options, _ *far) {
		o.timeout, o.budget, o.expire = 10*time.Second, 30*time.Second, time.Minute
	}, func(t *testing.T, f *far, l *lab) {
		l.mustAsk(t, "a.example.org.", "192.0.2.1")
		l.change(func(s *Status) { s.Route.Mark = wanMark })
		l.mustAsk(t, "a.example.org.", "192.0.2.1")
		within(t, 30*time.Second, "the first connection is closed", func() bool { return f.ended.Load() == 1 })
		if n := f.conns.Load(); n != 2 {
			t.Errorf("%d connections, want one for each mark", n)
		}
		brief := forwarder(t, func(o *options) { *o = l.opts; o.expire = 20 * time.Millisecond }, f.address("dns.example.org"))
		brief.mustAsk(t, "a.example.org.", "192.0.2.1")
		within(t, 30*time.Second, "the idle connection is closed", func() bool { return f.ended.Load() == 2 })
	})
}

// What is no answer is a failure that says why, and the next resolver is asked.
func TestStreamsThatFail(t *testing.T) {
	ca := newAuthority(t)
	hour := time.Now().Add(time.Hour)
	cert := ca.sign(t, hour, []string{"dns.example.org"})
	other := ca.sign(t, hour, []string{"dns.example.org"})
	write := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	cut := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/dns-message")
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "short")
	}
	for _, tc := range []struct {
		what, name, reason, err string
		answer                  http.HandlerFunc // nil: a good one
		change                  func(*options)
	}{
		{what: "500", reason: "status", err: "HTTP status 500 Internal Server Error", answer: write(500, "text/plain", "no")},
		{what: "redirect", reason: "status", err: `HTTP status 307 Temporary Redirect to "https://192.0.2.9/", which is not followed`, answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://192.0.2.9/", http.StatusTemporaryRedirect)
		}},
		{what: "a page", reason: "content_type", err: `content type "text/html", not application/dns-message`, answer: write(200, "text/html", "<html>")},
		{what: "too long", reason: "body", err: "the response has more than 65535 bytes", answer: write(200, "application/dns-message", strings.Repeat("x", 70000))},
		{what: "empty", reason: "malformed", err: "malformed reply", answer: write(200, "application/dns-message", "")},
		{what: "garbage", reason: "malformed", err: "malformed reply", answer: write(200, "application/dns-message", strings.Repeat("\xff", 40))},
		{what: "cut short", answer: cut, err: "."},
		{what: "another name", name: "dns.example.net", reason: "certificate", err: "x509: certificate is valid for dns.example.org, not dns.example.net"},
		{what: "another pin", reason: "certificate", err: "no certificate has the public key of a pin; that of dns.example.org is ",
			change: func(o *options) { o.trust.Pins = []trust.Pin{pinOf(t, other)} }},
		{what: "unknown authority", reason: "certificate", err: "x509: certificate signed by unknown authority", change: func(o *options) { o.trust.Config = nil }},
	} {
		for _, scheme := range schemes {
			if scheme == "quic" && tc.answer != nil {
				continue
			}
			t.Run(tc.what+" "+scheme, func(t *testing.T) {
				f := serveFar(t, scheme, cert, "192.0.2.1")
				if tc.answer != nil {
					f.answer.Store(&tc.answer)
				}
				name := tc.name
				if name == "" {
					name = "dns.example.org"
				}
				l := forwarder(t, func(o *options) {
					o.trust.Config = &tls.Config{RootCAs: ca.pool}
					o.timeout, o.budget, o.maxFails = 10*time.Second, 30*time.Second, 0
					if tc.change != nil {
						tc.change(o)
					}
				}, f.address(name))
				_, code, err := l.client(context.Background(), ask("a.example.org.", dns.TypeA))
				if code != dns.RcodeServerFailure || err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %d, %v; want %s", code, err, tc.err)
				}
				if tc.reason != "" && valueOf(t, failureCount.WithLabelValues("vpn", l.targets().resolvers[0].name, tc.reason)) != 1 {
					t.Errorf("no failure is counted as %s: %v", tc.reason, err)
				}
				if tc.answer == nil && f.asked.Load() != 0 {
					t.Error("the query was given to a server that is not the one")
				}
				good := serve(t, answerWith("192.0.2.2"))
				forwarder(t, func(o *options) {
					*o = l.opts
					o.addresses = append(slices.Clone(o.addresses), addressOf(t, good.String()))
				}).
					mustAsk(t, "b.example.org.", "192.0.2.2")
			})
		}
	}
}
