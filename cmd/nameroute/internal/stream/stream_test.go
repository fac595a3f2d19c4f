package stream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// patience is for what a loaded machine may delay.
const patience = 30 * time.Second

// host is a front with a server of miekg/dns behind it. The server holds names that begin
// with slow until release is closed.
type host struct {
	*Front
	t       *testing.T
	options Options
	release chan struct{}
	server  *dns.Server
	client  *tls.Config
}

func usual() Options {
	return Options{ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: patience}
}

func newHost(t *testing.T, o Options, b *Bounds) *host {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{Front: New(l, b), t: t, options: o, release: make(chan struct{})}
	h.attach("first")
	served := make(chan error, 1)
	go func() { served <- h.Serve() }()
	t.Cleanup(func() {
		h.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		h.Wait(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
		if ctx.Err() != nil {
			t.Error("the connections did not end")
		}
		h.server.Shutdown()
	})
	return h
}

// attach has another server answer, which says its name.
func (h *host) attach(name string) (old *dns.Server) {
	old = h.server
	began := make(chan struct{})
	s := &dns.Server{
		Listener: h.Attach(h.options), MaxTCPQueries: -1, NotifyStartedFunc: func() { close(began) },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if strings.HasPrefix(q.Question[0].Name, "slow") {
				<-h.release
			}
			m := new(dns.Msg).SetReply(q)
			state := w.(dns.ConnectionStater).ConnectionState()
			m.Answer = []dns.RR{&dns.TXT{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET},
				Txt: []string{name, w.RemoteAddr().String(), fmt.Sprint(state != nil && state.HandshakeComplete)},
			}}
			if o := q.IsEdns0(); o != nil {
				m.Extra = []dns.RR{o} // with what the client sent, as CoreDNS does
			}
			w.WriteMsg(m)
		}),
	}
	go s.ActivateAndServe()
	<-began
	h.server = s
	return old
}

func (h *host) dial() *dns.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	if h.client != nil {
		c = tls.Client(c, h.client)
	}
	h.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &dns.Conn{Conn: c}
}

// ask sends a query for each name without waiting for an answer.
func ask(t *testing.T, c *dns.Conn, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := c.WriteMsg(new(dns.Msg).SetQuestion(n+".", dns.TypeTXT)); err != nil {
			t.Fatal(err)
		}
	}
}

// want reads the answers to some names in any order.
func want(t *testing.T, c *dns.Conn, names ...string) (last *dns.Msg) {
	t.Helper()
	open := map[string]bool{}
	for _, n := range names {
		open[n+"."] = true
	}
	for range names {
		m, err := c.ReadMsg()
		if err != nil {
			t.Fatalf("%v, without an answer for %v", err, open)
		}
		if !open[m.Question[0].Name] {
			t.Fatalf("an answer for %s, wanted one for %v", m.Question[0].Name, open)
		}
		delete(open, m.Question[0].Name)
		last = m
	}
	return last
}

// ended reports whether the other side has closed a connection.
func ended(c net.Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "reset")
}

func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"box.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return server, &tls.Config{InsecureSkipVerify: true}
}

// RFC 7766 section 6.2.1.1: a slow answer delays no other, over TCP and TLS. The server
// sees the client's address, and TLS.
func TestSideBySide(t *testing.T) {
	server, client := certificate(t)
	for _, over := range []string{"tcp", "tls"} {
		t.Run(over, func(t *testing.T) {
			o := usual()
			if over == "tls" {
				o.TLS = server
			}
			h := newHost(t, o, NewBounds(nil))
			if over == "tls" {
				h.client = client
			}
			c := h.dial()
			ask(t, c, "slow1", "slow2", "slow3", "quick", "slow4")
			m := want(t, c, "quick")
			if txt := m.Answer[0].(*dns.TXT).Txt; txt[1] != c.LocalAddr().String() || txt[2] != fmt.Sprint(over == "tls") {
				t.Errorf("the server has seen %q, wanted %s", txt, c.LocalAddr())
			}
			ask(t, c, "another")
			want(t, c, "another")
			close(h.release)
			want(t, c, "slow1", "slow2", "slow3", "slow4")
		})
	}
}

// A client that has sent its last query still gets its answers.
func TestHalfClose(t *testing.T) {
	h := newHost(t, usual(), NewBounds(nil))
	c := h.dial()
	ask(t, c, "slow1", "quick")
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	want(t, c, "quick")
	close(h.release)
	want(t, c, "slow1")
	if !ended(c) {
		t.Error("the connection stays")
	}
}

// Many connections at once, as a flat or an office has.
func TestManyConnections(t *testing.T) {
	h := newHost(t, usual(), &Bounds{Total: 2000, PerNet: 1000, PerClient: 500})
	var all []*dns.Conn
	for range 300 {
		all = append(all, h.dial())
	}
	for i, c := range all {
		ask(t, c, fmt.Sprintf("quick%d", i), fmt.Sprintf("other%d", i))
	}
	for i, c := range all {
		want(t, c, fmt.Sprintf("quick%d", i), fmt.Sprintf("other%d", i))
	}
}

// Queries that wait for their answers are bounded for each connection, at the bound, below
// and above. Those above wait in the client's socket and are answered in the end.
func TestBackPressure(t *testing.T) {
	h := newHost(t, usual(), NewBounds(nil))
	c := h.dial()
	names := make([]string, connQueries)
	for i := range names {
		names[i] = fmt.Sprintf("slow%d", i)
	}
	ask(t, c, names[:connQueries-1]...)
	ask(t, c, "below")
	want(t, c, "below")
	ask(t, c, names[connQueries-1], "above")
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if m, err := c.ReadMsg(); err == nil {
		t.Errorf("above the bound an answer for %s", m.Question[0].Name)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	close(h.release)
	want(t, c, append(names, "above")...)
}

// Queries of one address are bounded over all its connections; another address still gets
// its answers.
func TestClientQueries(t *testing.T) {
	h := newHost(t, usual(), NewBounds(nil))
	var all []*dns.Conn
	for i := range clientQueries/connQueries + 1 {
		c := h.dial()
		all = append(all, c)
		for n := range connQueries {
			ask(t, c, fmt.Sprintf("slow%d-%d", i, n))
		}
	}
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", h.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	other := &dns.Conn{Conn: conn}
	ask(t, other, "quick")
	want(t, other, "quick")
	close(h.release)
	for _, c := range all {
		for range connQueries {
			if _, err := c.ReadMsg(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A connection ends when nothing is asked for the idle timeout; not while an answer is due.
func TestIdle(t *testing.T) {
	o := usual()
	o.IdleTimeout = time.Second // a busy machine may delay the first query
	h := newHost(t, o, NewBounds(nil))
	c := h.dial()
	ask(t, c, "slow1")
	time.Sleep(3 * o.IdleTimeout / 2)
	ask(t, c, "quick")
	want(t, c, "quick")
	close(h.release)
	want(t, c, "slow1")
	if !ended(c) {
		t.Error("an idle connection stays")
	}
}

// A client that connects and sends nothing, or begins a query and does not end it, is not
// waited for; neither is the handshake of TLS.
func TestSlowClients(t *testing.T) {
	server, _ := certificate(t)
	o := usual()
	o.ReadTimeout = 50 * time.Millisecond
	plain := newHost(t, o, NewBounds(nil))
	o.TLS = server
	encrypted := newHost(t, o, NewBounds(nil))
	for _, c := range []struct {
		host *host
		sent string
	}{
		{plain, ""}, {plain, "\x00"}, {plain, "\x00\x40"}, {plain, "\x00\x40abc"}, {encrypted, ""}, {encrypted, "\x16\x03\x01"},
	} {
		conn := c.host.dial()
		if _, err := conn.Conn.Write([]byte(c.sent)); err != nil {
			t.Fatal(err)
		}
		if !ended(conn.Conn) {
			t.Errorf("%q: the connection stays", c.sent)
		}
	}
}

// What is no query is not answered and does no harm to what comes after it.
func TestGarbage(t *testing.T) {
	h := newHost(t, usual(), NewBounds(nil))
	c := h.dial()
	for _, garbage := range []string{"\x00\x00", "\x00\x01x", "\x00\x0bshorter....", "\x00\x0c............", "\x00\x20" + strings.Repeat("\xff", 32)} {
		if _, err := c.Conn.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, c, "quick")
	for {
		m, err := c.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Question) == 1 && m.Question[0].Name == "quick." {
			return
		}
		if m.Rcode != dns.RcodeFormatError && m.Rcode != dns.RcodeNotImplemented {
			t.Errorf("garbage is answered %v", m)
		}
	}
}

// A client that does not read its answers loses the connection, and delays no other.
func TestUnreadAnswers(t *testing.T) {
	o := usual()
	o.WriteTimeout = 50 * time.Millisecond
	h := newHost(t, o, NewBounds(nil))
	c := h.dial()
	c.Conn.(*net.TCPConn).SetReadBuffer(1)
	padded := new(dns.Msg).SetQuestion(strings.Repeat("quick.", 40), dns.TypeTXT)
	padded.SetEdns0(4096, false)
	padded.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: make([]byte, 60000)}}
	for {
		if c.WriteMsg(padded) != nil {
			return // closed by the other side
		}
	}
}

// MaxQueries of one connection are answered, then it ends.
func TestMaxQueries(t *testing.T) {
	o := usual()
	o.MaxQueries = 2
	h := newHost(t, o, NewBounds(nil))
	c := h.dial()
	ask(t, c, "quick1", "quick2")
	want(t, c, "quick1", "quick2")
	if !ended(c) {
		t.Error("the connection stays")
	}
}

// A connection outlives the server: queries that it has accepted are answered by it, others
// by the next, and none is lost, whenever they come.
func TestNextServer(t *testing.T) {
	h := newHost(t, usual(), NewBounds(nil))
	c := h.dial()
	ask(t, c, "slow")
	ask(t, c, "quick")
	want(t, c, "quick")
	old := h.attach("second")
	stopped := make(chan error, 1)
	go func() { stopped <- old.Shutdown() }()
	ask(t, c, "another")
	if m := want(t, c, "another"); m.Answer[0].(*dns.TXT).Txt[0] != "second" {
		t.Errorf("answered by %v", m.Answer)
	}
	close(h.release)
	if m := want(t, c, "slow"); m.Answer[0].(*dns.TXT).Txt[0] != "first" {
		t.Errorf("answered by %v", m.Answer)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}

	const queries = 3000
	var answered sync.WaitGroup
	answered.Go(func() {
		for range queries {
			if _, err := c.ReadMsg(); err != nil {
				t.Error(err)
				return
			}
		}
	})
	answered.Go(func() {
		for n := range queries {
			if err := c.WriteMsg(new(dns.Msg).SetQuestion(fmt.Sprintf("quick%d.", n), dns.TypeTXT)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for n := range 20 {
		if err := h.attach(fmt.Sprint(n)).Shutdown(); err != nil {
			t.Error(err)
		}
	}
	answered.Wait()
}
