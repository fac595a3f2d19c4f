package upstream

import (
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
					o.trust.Config = &tls.Config{RootCAs: ca.pool}
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

// One handshake carries many queries; a new connection resumes the session.
func TestTLSSessions(t *testing.T) {
	ca := newAuthority(t)
	var sizes sync.Map
	addr, states := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.sign(t, time.Now().Add(time.Hour), []string{"dns.example.org"})}},
		func(w dns.ResponseWriter, r *dns.Msg) {
			sizes.Store(r.Len(), true)
			w.WriteMsg(replyTo(r, "192.0.2.1"))
		})
	l := forwarder(t, func(o *options) {
		o.trust.Config = &tls.Config{RootCAs: ca.pool}
		o.timeout, o.expire = 10*time.Second, 2*time.Second
	}, tlsAddr(addr, "dns.example.org"))
	var wg sync.WaitGroup
	for i := range streamShare {
		wg.Go(func() { l.wantAddr(t, fmt.Sprintf("%s.example.org.", strings.Repeat("n", i+1)), "192.0.2.1") })
	}
	wg.Wait()
	if s := states(); len(s) != 1 || s[0].DidResume || s[0].ServerName != "dns.example.org" {
		t.Fatalf("%d handshakes for %d queries", len(s), streamShare)
	}
	within(t, time.Second, "the idle connection is closed", func() bool { return ours() == "" })
	l.mustAsk(t, "again.example.org.", "192.0.2.1")
	if s := states(); len(s) != 2 || !s[1].DidResume {
		t.Errorf("%d handshakes, the second resumed: %v", len(s), s[len(s)-1].DidResume)
	}
	sizes.Range(func(n, _ any) bool {
		if n.(int)%128 != 0 {
			t.Errorf("a question of %d bytes tells the length of its name", n)
		}
		return true
	})
}

// A server that accepts and never shakes hands costs one try and not the budget.
func TestTLSHandshakeThatHangs(t *testing.T) {
	s := listenStreams(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	good := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, func(o *options) { o.timeout, o.patience = 900*time.Millisecond, 0 }, tlsAddr(s.ln.Addr().String(), "dns.example.org"), good.String())
	start := time.Now()
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %s", d)
	}
}
