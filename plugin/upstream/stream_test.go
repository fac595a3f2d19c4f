package upstream

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// streams is a TCP server whose connections a test scripts.
type streams struct {
	ln    net.Listener
	conns atomic.Int64
}

func (s *streams) String() string { return "tcp://" + s.ln.Addr().String() }

func listenStreams(t testing.TB, each func(net.Conn)) *streams {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &streams{ln: ln}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { defer c.Close(); each(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return s
}

func readQuestion(in io.Reader) (*dns.Msg, error) {
	var length [2]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, int(length[0])<<8|int(length[1]))
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	return m, m.Unpack(b)
}

func writeReply(w io.Writer, r *dns.Msg, addr string) error {
	b, err := replyTo(r, addr).Pack()
	if err != nil {
		return err
	}
	_, err = w.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
	return err
}

// Many questions on one connection, answered in the opposite order and in crumbs.
func TestPipelinedOutOfOrder(t *testing.T) {
	const questions = 50
	s := listenStreams(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		var asked []*dns.Msg
		for len(asked) < questions {
			m, err := readQuestion(in)
			if err != nil {
				return
			}
			asked = append(asked, m)
		}
		for i := range asked {
			var b strings.Builder
			writeReply(&b, asked[questions-1-i], fmt.Sprintf("192.0.2.%d", questions-1-i))
			for _, crumb := range []string{b.String()[:1], b.String()[1:9], b.String()[9:]} {
				if _, err := c.Write([]byte(crumb)); err != nil {
					return
				}
			}
		}
		io.Copy(io.Discard, c)
	})
	l := forwarder(t, func(o *options) { o.timeout = 2 * time.Second }, s.String())
	var mu sync.Mutex
	got := map[string]string{}
	var wg sync.WaitGroup
	for i := range questions {
		wg.Go(func() {
			name := fmt.Sprintf("n%d.example.org.", i)
			m := l.mustAsk2(t, ask(name, dns.TypeA))
			mu.Lock()
			defer mu.Unlock()
			got[addrOf(m)] = m.Question[0].Name
			if len(m.Answer) != 1 || m.Answer[0].Header().Name != name {
				t.Errorf("%s was given %v", name, m.Answer)
			}
		})
	}
	wg.Wait()
	if len(got) != questions || s.conns.Load() != 1 {
		t.Errorf("%d answers over %d connections, want %d over 1", len(got), s.conns.Load(), questions)
	}
}

// A server that closes after each answer, as RFC 1035 servers do: every question is
// answered, alone or in a crowd, and the crowd is remembered.
func TestServerThatClosesAfterEachAnswer(t *testing.T) {
	s := listenStreams(t, func(c net.Conn) {
		if m, err := readQuestion(c); err == nil {
			time.Sleep(5 * time.Millisecond) // the others of the crowd are written meanwhile
			writeReply(c, m, "192.0.2.1")
		}
	})
	l := forwarder(t, nil, s.String())
	for i := range 5 {
		l.mustAsk(t, fmt.Sprintf("alone%d.example.org.", i), "192.0.2.1")
	}
	for round := range 3 {
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() { l.mustAsk2Addr(t, fmt.Sprintf("crowd%d-%d.example.org.", round, i), "192.0.2.1") })
		}
		wg.Wait()
	}
	if !l.targets().resolvers[0].tcp.serial() {
		t.Error("the resolver is still sent crowds")
	}
}

func (l *lab) mustAsk2Addr(t *testing.T, name, want string) {
	if got := addrOf(l.mustAsk2(t, ask(name, dns.TypeA))); got != want {
		t.Errorf("%s: got %q, want %q", name, got, want)
	}
}

// A server that closes idle connections is no failure: the next question reconnects.
func TestIdleConnectionClosedByServer(t *testing.T) {
	closed := make(chan struct{}, 16)
	s := listenStreams(t, func(c net.Conn) {
		m, err := readQuestion(c)
		if err != nil {
			return
		}
		writeReply(c, m, "192.0.2.1")
		time.Sleep(30 * time.Millisecond)
		c.Close()
		closed <- struct{}{}
	})
	l := forwarder(t, nil, s.String())
	for range 3 {
		l.mustAsk(t, "a.example.org.", "192.0.2.1")
		<-closed
	}
	if l.targets().resolvers[0].health.fails.Load() != 0 {
		t.Error("counted as a failure")
	}
}

// We close what is idle ourselves, of both kinds.
func TestIdleSocketsExpire(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, func(o *options) { o.expire = 50 * time.Millisecond }, s.String(), "tcp://"+s.String())
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	r := l.targets().resolvers[1]
	if _, err := r.exchange(context.Background(), time.Now().Add(time.Second), questionOf(ask("a.example.org.", dns.TypeA))); err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, "all sockets are closed", func() bool { return ours() == "" })
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
}

// A connection on which nothing comes any more is given up, and not waited for by
// every question until its timeout.
func TestSilentConnectionIsReplaced(t *testing.T) {
	var n atomic.Int64
	s := listenStreams(t, func(c net.Conn) {
		if n.Add(1) == 1 {
			m, err := readQuestion(c)
			if err == nil {
				writeReply(c, m, "192.0.2.1")
			}
			io.Copy(io.Discard, c) // a box on the way has forgotten the connection
			return
		}
		for {
			m, err := readQuestion(c)
			if err != nil {
				return
			}
			writeReply(c, m, "192.0.2.2")
		}
	})
	l := forwarder(t, func(o *options) { o.timeout = 150 * time.Millisecond }, s.String())
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	l.mustAsk(t, "b.example.org.", "192.0.2.2") // the second try
	start := time.Now()
	l.mustAsk(t, "c.example.org.", "192.0.2.2")
	if d := time.Since(start); d > 100*time.Millisecond {
		t.Errorf("took %s on the new connection", d)
	}
}

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) sign(t testing.TB, until time.Time, names []string, ips ...net.IP) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, IPAddresses: ips,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS is a DoT resolver that records its handshakes.
func serveTLS(t testing.TB, cfg *tls.Config, h dns.HandlerFunc) (addr string, states func() []tls.ConnectionState) {
	t.Helper()
	var mu sync.Mutex
	var seen []tls.ConnectionState
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, s)
		return nil
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, &dns.Server{Listener: ln, Handler: h})
	return ln.Addr().String(), func() []tls.ConnectionState {
		mu.Lock()
		defer mu.Unlock()
		return append([]tls.ConnectionState(nil), seen...)
	}
}

// tlsAddr writes 127.0.0.1:port as tls://127.0.0.1%name:port.
func tlsAddr(addr, name string) string {
	host, port, _ := strings.Cut(addr, ":")
	if name != "" {
		host += "%" + name
	}
	return "tls://" + host + ":" + port
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	loopback := net.IPv4(127, 0, 0, 1)
	hour := time.Now().Add(time.Hour)
	for _, tc := range []struct {
		what, name string
		cert       tls.Certificate
		max        uint16
		trusted    bool
		err        string // "" where it must work
	}{
		{what: "name", name: "dns.example.org", cert: ca.sign(t, hour, []string{"dns.example.org"}), trusted: true},
		{what: "name, TLS 1.2", name: "dns.example.org", cert: ca.sign(t, hour, []string{"dns.example.org"}), max: tls.VersionTLS12, trusted: true},
		{what: "address", cert: ca.sign(t, hour, nil, loopback), trusted: true},
		{what: "another name", name: "dns.example.org", cert: ca.sign(t, hour, []string{"evil.example.net"}), trusted: true,
			err: "x509: certificate is valid for evil.example.net, not dns.example.org"},
		{what: "another address", cert: ca.sign(t, hour, []string{"dns.example.org"}, net.IPv4(192, 0, 2, 1)), trusted: true,
			err: "x509: certificate is valid for 192.0.2.1, not 127.0.0.1"},
		{what: "expired", name: "dns.example.org", cert: ca.sign(t, time.Now().Add(-time.Hour), []string{"dns.example.org"}), trusted: true,
			err: "x509: certificate has expired or is not yet valid"},
		{what: "unknown authority", name: "dns.example.org", cert: ca.sign(t, hour, []string{"dns.example.org"}),
			err: "x509: certificate signed by unknown authority"},
		{what: "TLS 1.1", name: "dns.example.org", cert: ca.sign(t, hour, []string{"dns.example.org"}), max: tls.VersionTLS11, trusted: true,
			err: "protocol version not supported"},
	} {
		t.Run(tc.what, func(t *testing.T) {
			var asked atomic.Int64
			cfg := &tls.Config{Certificates: []tls.Certificate{tc.cert}, MinVersion: tls.VersionTLS10, MaxVersion: tc.max}
			addr, _ := serveTLS(t, cfg, func(w dns.ResponseWriter, r *dns.Msg) {
				asked.Add(1)
				w.WriteMsg(replyTo(r, "192.0.2.1"))
			})
			l := forwarder(t, func(o *options) {
				if tc.trusted {
					o.tls = &tls.Config{RootCAs: ca.pool}
				}
			}, tlsAddr(addr, tc.name))
			m, code, err := l.client(context.Background(), ask("a.example.org.", dns.TypeA))
			if tc.err == "" {
				if err != nil || addrOf(m) != "192.0.2.1" {
					t.Fatalf("got %v, %v", m, err)
				}
				return
			}
			if code != dns.RcodeServerFailure || err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %d, %v; want %s", code, err, tc.err)
			}
			if asked.Load() != 0 {
				t.Error("the question was given to a server that is not the one")
			}
		})
	}
}

// One handshake carries many questions; a new connection resumes the session.
func TestTLSSessions(t *testing.T) {
	ca := newAuthority(t)
	var sizes sync.Map
	addr, states := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.sign(t, time.Now().Add(time.Hour), []string{"dns.example.org"})}},
		func(w dns.ResponseWriter, r *dns.Msg) {
			sizes.Store(r.Len(), true)
			w.WriteMsg(replyTo(r, "192.0.2.1"))
		})
	l := forwarder(t, func(o *options) { o.tls = &tls.Config{RootCAs: ca.pool}; o.expire = 50 * time.Millisecond }, tlsAddr(addr, "dns.example.org"))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { l.mustAsk2Addr(t, fmt.Sprintf("%s.example.org.", strings.Repeat("n", i+1)), "192.0.2.1") })
	}
	wg.Wait()
	if s := states(); len(s) != 1 || s[0].DidResume || s[0].ServerName != "dns.example.org" {
		t.Fatalf("%d handshakes for 20 questions: %+v", len(s), s)
	}
	within(t, time.Second, "the idle connection is closed", func() bool { return ours() == "" })
	l.mustAsk(t, "again.example.org.", "192.0.2.1")
	if s := states(); len(s) != 2 || !s[1].DidResume {
		t.Errorf("%d handshakes, the second resumed: %v", len(s), s[len(s)-1].DidResume)
	}
	sizes.Range(func(n, _ any) bool {
		if n.(int)%padBlock != 0 {
			t.Errorf("a question of %d bytes tells the length of its name", n)
		}
		return true
	})
}

// A server that accepts and never shakes hands costs one try and not the budget.
func TestTLSHandshakeThatHangs(t *testing.T) {
	s := listenStreams(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	good := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, func(o *options) { o.timeout = 150 * time.Millisecond }, tlsAddr(s.ln.Addr().String(), "dns.example.org"), good.String())
	start := time.Now()
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	if d := time.Since(start); d > 400*time.Millisecond {
		t.Errorf("took %s", d)
	}
}
