package coredns

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/timeouts"
	_ "github.com/coredns/coredns/plugin/tls"
	"github.com/miekg/dns"
)

const patience = 30 * time.Second

// events are the callbacks of the directive `says NAME`, which answers with its name; names
// that begin with slow once release is closed.
var (
	events  []string
	release chan struct{}
	entered chan struct{} // one for each slow query
)

func init() {
	plugin.Register("says", func(c *caddy.Controller) error {
		c.Next()
		name := c.RemainingArgs()[0]
		if name == "panic" {
			panic("oh")
		}
		event := func(what string, err error) func() error {
			return func() error { events = append(events, name+" "+what); return err }
		}
		var broken error
		if name == "broken" {
			broken = errors.New("broken")
		}
		c.OnFirstStartup(event("first", nil))
		c.OnStartup(event("startup", broken))
		c.OnRestart(event("restart", nil))
		c.OnRestartFailed(event("failed", nil))
		c.OnShutdown(event("shutdown", nil))
		c.OnFinalShutdown(event("final", nil))
		dnsserver.GetConfig(c).AddPlugin(func(plugin.Handler) plugin.Handler { return says(name) })
		return nil
	})
	if err := dnsserver.SetDirectives([]string{
		"failsearly", "quic", "https", "timeouts", "reload", "bind", "ready", "health", "pprof", "prometheus", "errors", "dnstap", "tls",
		"hosts", "file", "auto", "forward", "says", "fails",
	}); err != nil {
		panic(err)
	}
	dnsserver.Quiet = true
}

type says string

func (s says) Name() string { return "says" }
func (s says) ServeDNS(_ context.Context, w dns.ResponseWriter, q *dns.Msg) (int, error) {
	if strings.HasPrefix(q.Question[0].Name, "slow") {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-release
	}
	m := new(dns.Msg).SetReply(q)
	n := 1
	if strings.HasPrefix(q.Question[0].Name, "many") {
		n = 20
	}
	for i := range n {
		m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{string(s), fmt.Sprint(i)}})
	}
	return 0, w.WriteMsg(m)
}

// box is a directory with a certificate, and ports that were free a moment ago.
type box struct {
	t             *testing.T
	dir           string
	dns, dot, doh int
}

func newBox(t *testing.T) *box {
	t.Helper()
	events, release, entered = nil, make(chan struct{}), make(chan struct{}, 100)
	b := &box{t: t, dir: t.TempDir()}
	for _, p := range []*int{&b.dns, &b.dot, &b.doh} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		*p = l.Addr().(*net.TCPAddr).Port
	}
	b.certificate(t, 1)
	return b
}

// certificate makes a certificate.
func (b *box) certificate(t *testing.T, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"crt": {Type: "CERTIFICATE", Bytes: der}, "key": {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(filepath.Join(b.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// corefile returns one whose server says a name on all transports.
func (b *box) corefile(name string) caddy.Input {
	text := fmt.Sprintf(".:%d tls://.:%d https://.:%d {\n bind 127.0.0.1\n tls %s/crt %s/key\n says %s\n}\n", b.dns, b.dot, b.doh, b.dir, b.dir, name)
	return caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"}
}

func (b *box) dial(network string, port int) *dns.Conn {
	b.t.Helper()
	c, err := net.Dial(network, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		b.t.Fatal(err)
	}
	if port == b.dot {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	b.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &dns.Conn{Conn: c}
}

func (b *box) send(c *dns.Conn, name string) {
	b.t.Helper()
	if err := c.WriteMsg(new(dns.Msg).SetQuestion(name+".", dns.TypeTXT)); err != nil {
		b.t.Fatal(err)
	}
}

// awaitSlow waits until slow queries have reached the server.
func (b *box) awaitSlow(count int) {
	b.t.Helper()
	for range count {
		select {
		case <-entered:
		case <-time.After(patience):
			b.t.Fatal("a slow query has not reached the server")
		}
	}
}

// want reads an answer to a query, with the server's name in it.
func (b *box) want(c *dns.Conn, query, name string) {
	b.t.Helper()
	m, err := c.ReadMsg()
	if err != nil {
		b.t.Fatal(err)
	}
	if got := m.Question[0].Name; got != query+"." || len(m.Answer) != 1 || m.Answer[0].(*dns.TXT).Txt[0] != name {
		b.t.Errorf("%v, wanted that %s is answered %s", m, query, name)
	}
}

// A restart keeps the connections: queries before it are answered by the old Corefile,
// queries after it by the new one, over UDP, TCP and TLS.
func TestRestart(t *testing.T) {
	b := newBox(t)
	i, err := Start(b.corefile("one"))
	if err != nil {
		t.Fatal(err)
	}
	conns := []*dns.Conn{b.dial("udp", b.dns), b.dial("tcp", b.dns), b.dial("tcp", b.dot)}
	for _, c := range conns {
		b.send(c, "slow")
		b.send(c, "quick")
		b.want(c, "quick", "one")
	}
	b.awaitSlow(len(conns))
	next := make(chan *Instance)
	go func() {
		n, err := i.Restart(b.corefile("two"))
		if err != nil {
			t.Error(err)
		}
		next <- n
	}()
	for _, c := range conns {
		for name := ""; name != "two"; {
			b.send(c, "quick")
			m, err := c.ReadMsg()
			if err != nil {
				t.Fatal(err)
			}
			name = m.Answer[0].(*dns.TXT).Txt[0]
		}
	}
	close(release)
	for _, c := range conns {
		b.want(c, "slow", "one")
	}
	if i = <-next; !strings.Contains(string(i.Caddyfile().Body()), "says two") {
		t.Errorf("the Corefile is %s", i.Caddyfile().Body())
	}
	i.Stop()
	if got, want := strings.Join(events, ", "), "one first, one startup, one restart, two startup, one shutdown, two shutdown, two final"; got != want {
		t.Errorf("callbacks: %s; want %s", got, want)
	}
	for _, c := range conns {
		if c.WriteMsg(new(dns.Msg).SetQuestion("quick.", dns.TypeTXT)) == nil {
			if _, err := c.ReadMsg(); err == nil {
				t.Error("answered after the stop")
			}
		}
	}
}

// A stop answers what was asked before it.
func TestStop(t *testing.T) {
	b := newBox(t)
	i, err := Start(b.corefile("one"))
	if err != nil {
		t.Fatal(err)
	}
	conns := []*dns.Conn{b.dial("udp", b.dns), b.dial("tcp", b.dns), b.dial("tcp", b.dot)}
	for _, c := range conns {
		b.send(c, "slow")
		b.send(c, "quick")
		b.want(c, "quick", "one")
	}
	b.awaitSlow(len(conns))
	stopped := make(chan struct{})
	go func() { i.Stop(); close(stopped) }()
	for { // until the listener is gone
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.dot))
		if err != nil {
			break
		}
		c.Close()
	}
	close(release)
	for _, c := range conns {
		b.want(c, "slow", "one")
	}
	<-stopped
}

// A restart that fails leaves the old instance as it was and nothing open.
func TestRestartFails(t *testing.T) {
	b := newBox(t)
	i, err := Start(b.corefile("one"))
	if err != nil {
		t.Fatal(err)
	}
	c := b.dial("tcp", b.dot)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	taken := b.corefile("two").(caddy.CaddyfileInput)
	free := newBox(t)
	taken.Contents = append(taken.Contents, fmt.Sprintf(".:%d tls://.:%d tls://.:%d {\n bind 127.0.0.1\n tls %s/crt %s/key\n says three\n}\n",
		free.dns, free.dot, other.Addr().(*net.TCPAddr).Port, b.dir, b.dir)...)
	for _, f := range []struct {
		in   caddy.Input
		want string
	}{
		{b.corefile("broken"), "broken"},
		{b.corefile("panic"), "oh"},
		{caddy.CaddyfileInput{Contents: []byte(". {\n say one\n}\n"), Filepath: "Corefile", ServerTypeName: "dns"}, "say"},
		{taken, syscall.EADDRINUSE.Error()},
	} {
		events = nil
		if _, err := i.Restart(f.in); err == nil || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%v, wanted %s", err, f.want)
		}
		if got := strings.Join(events, ", "); !strings.HasSuffix(got, "one failed") {
			t.Errorf("%s: callbacks: %s", f.want, got)
		}
		b.send(c, "quick")
		b.want(c, "quick", "one")
	}
	for _, p := range []int{free.dns, free.dot} {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p)); err != nil {
			t.Errorf("a listener is left: %v", err)
		} else {
			l.Close()
		}
	}
	n, err := i.Restart(b.corefile("two"))
	if err != nil {
		t.Fatal(err)
	}
	b.send(c, "quick")
	b.want(c, "quick", "two")
	n.Stop()
}

// What the package reads of CoreDNS is where it was.
func TestLayout(t *testing.T) {
	want := &tls.Config{ServerName: "x", GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}
	s, err := dnsserver.NewServerTLS("tls://127.0.0.1:0", []*dnsserver.Config{{TLSConfig: want}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tlsConfig(s); err != nil || got == nil || got.ServerName != "x" {
		t.Errorf("%v, %v", got, err)
	}
}
