package coredns

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	_ "github.com/coredns/coredns/plugin/https"
	_ "github.com/coredns/coredns/plugin/quic"
	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/nameroute/nameroute/test/netlab/dnsover"
)

// asker asks over one connection, and tells by which certificate.
type asker struct {
	exchange func(*dns.Msg) (*dns.Msg, error)
	serial   func() string
}

// serials keeps the serial number of the last certificate that a client was shown.
func serials() (*tls.Config, func() string) {
	var last string
	return &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		last = s.PeerCertificates[0].SerialNumber.String()
		return nil
	}}, func() string { return last }
}

// overHTTP asks by HTTP/2 or HTTP/3.
func overHTTP(t *testing.T, port int, version string) asker {
	c, serial := serials()
	var rt http.RoundTripper = &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	if version == "HTTP/3.0" {
		h3 := &http3.Transport{TLSClientConfig: c}
		t.Cleanup(func() { h3.Close() })
		rt = h3
	}
	return asker{serial: serial, exchange: func(m *dns.Msg) (*dns.Msg, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		reply, got, err := dnsover.HTTPS(ctx, rt, fmt.Sprintf("https://127.0.0.1:%d/dns-query", port), m)
		if err == nil && got != version {
			err = fmt.Errorf("answered over %s", got)
		}
		return reply, err
	}}
}

// overQUIC asks by DNS over QUIC on one connection, and reads each answer to its end.
func overQUIC(t *testing.T, port int) asker {
	t.Helper()
	c, serial := serials()
	c.NextProtos = []string{"doq"}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, fmt.Sprintf("127.0.0.1:%d", port), c, &quic.Config{HandshakeIdleTimeout: patience, MaxIdleTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	return asker{serial: serial, exchange: func(m *dns.Msg) (*dns.Msg, error) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return dnsover.QUIC(ctx, conn, m)
	}}
}

// encrypted is a Corefile with HTTPS and QUIC listeners, which says a name.
func (b *box) encrypted(name, rest string) caddy.Input {
	text := fmt.Sprintf("https://.:%d https3://.:%[1]d quic://.:%[2]d {\n bind 127.0.0.1\n tls %[3]s/crt %[3]s/key\n says %s\n%s\n}\n", b.doh, b.dot, b.dir, name, rest)
	return caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"}
}

func query(name string) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name+".", dns.TypeTXT)
	m.Id = 0 // RFC 9250 section 4.2.1, RFC 8484 section 4.1
	return m
}

// answers asks for a name and returns the name that the server answers with.
func (a asker) answers(t *testing.T, name string) string {
	t.Helper()
	m, err := a.exchange(query(name))
	if err != nil || len(m.Answer) != 1 || m.Truncated || m.Id != 0 {
		t.Fatalf("%s: %v, %v", name, m, err)
	}
	return m.Answer[0].(*dns.TXT).Txt[0]
}

// A restart keeps the connections over HTTPS and QUIC: what was asked before it is answered by
// the old Corefile, what is asked after it by the new one, and new connections get the
// certificate that the file has by then.
func TestRestartEncrypted(t *testing.T) {
	b := newBox(t)
	i, err := Start(b.encrypted("one", ""))
	if err != nil {
		t.Fatal(err)
	}
	dial := func() map[string]asker {
		return map[string]asker{"h2": overHTTP(t, b.doh, "HTTP/2.0"), "h3": overHTTP(t, b.doh, "HTTP/3.0"), "doq": overQUIC(t, b.dot)}
	}
	before := dial()
	slow := map[string]chan string{}
	for over, a := range before {
		if got := a.answers(t, "quick"); got != "one" {
			t.Errorf("%s: %s", over, got)
		}
		slow[over] = make(chan string, 1)
		go func() {
			m, err := a.exchange(query("slow"))
			if err != nil || len(m.Answer) != 1 {
				slow[over] <- fmt.Sprint(m, err)
				return
			}
			slow[over] <- m.Answer[0].(*dns.TXT).Txt[0]
		}()
	}
	b.awaitSlow(len(slow))
	old := before["doq"].serial()
	b.certificate(t, 2)
	next := make(chan *Instance, 1)
	go func() {
		n, err := i.Restart(b.encrypted("two", ""))
		if err != nil {
			t.Error(err)
		}
		next <- n
	}()
	for over, a := range before {
		for until := time.Now().Add(patience); a.answers(t, "quick") != "two"; {
			if time.Now().After(until) {
				t.Fatalf("%s: the old server answers", over)
			}
		}
		if a.serial() != old {
			t.Errorf("%s: the client had to connect again", over)
		}
	}
	close(release)
	for over, c := range slow {
		if got := <-c; got != "one" {
			t.Errorf("%s: a query from before the restart is answered %s", over, got)
		}
	}
	i = <-next
	for over, a := range dial() {
		if a.answers(t, "quick") != "two" || a.serial() != "2" {
			t.Errorf("%s: certificate %s, want the renewed one", over, a.serial())
		}
	}
	i.Stop()
	for _, network := range []string{"tcp", "udp"} {
		if network == "tcp" {
			l, err := net.Listen(network, fmt.Sprintf("127.0.0.1:%d", b.doh))
			if err != nil {
				t.Error(err)
				continue
			}
			l.Close()
			continue
		}
		for _, port := range []int{b.doh, b.dot} {
			p, err := net.ListenPacket(network, fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Error(err)
				continue
			}
			p.Close()
		}
	}
}

// Answers are as long as they are, also for a client without EDNS, and what clients do wrong
// ends no more than it must.
func TestEncryptedAnswers(t *testing.T) {
	b := newBox(t)
	i, err := Start(b.encrypted(strings.Repeat("long", 60), " quic {\n max_connections 3\n }"))
	if err != nil {
		t.Fatal(err)
	}
	defer i.Stop()
	for over, a := range map[string]asker{"h2": overHTTP(t, b.doh, "HTTP/2.0"), "h3": overHTTP(t, b.doh, "HTTP/3.0"), "doq": overQUIC(t, b.dot)} {
		m, err := a.exchange(query("many"))
		if err != nil || m.Truncated || len(m.Answer) != 20 {
			t.Errorf("%s: %v, %v", over, m, err)
		}
		q := query("quick")
		q.SetEdns0(1232, false)
		q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{}}
		if m, err = a.exchange(q); err != nil || m.IsEdns0() == nil || len(m.IsEdns0().Option) != 1 {
			t.Errorf("%s: %v, %v: want it padded (RFC 7830 section 4)", over, m, err)
		}
		// More than may be in flight at once: the streams of those that ended are free again.
		for range 300 {
			a.answers(t, "quick")
		}
	}
	wrong := query("quick")
	wrong.Id = 1
	if m, err := overQUIC(t, b.dot).exchange(wrong); err == nil {
		t.Errorf("a query with an id is answered: %v", m)
	}
	res, err := (&http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}).Get(fmt.Sprintf("https://127.0.0.1:%d/", b.doh))
	if err != nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("%v, %v", res, err)
	}
	// One more than max_connections: the idlest one ends, none is refused.
	for range 5 {
		overQUIC(t, b.dot).answers(t, "quick")
	}
}

// A quic:// block without *tls* is refused, and the running configuration stays.
func TestQUICWithoutCertificate(t *testing.T) {
	b := newBox(t)
	in := caddy.CaddyfileInput{Contents: fmt.Appendf(nil, "quic://.:%d {\n bind 127.0.0.1\n says one\n}\n", b.dot), Filepath: "Corefile", ServerTypeName: "dns"}
	if _, err := Start(in); err == nil || !strings.Contains(err.Error(), "has no certificate: want tls CERT KEY") {
		t.Errorf("%v", err)
	}
}

// A query that is begun and not ended is not waited for, and the connection's others go on; a
// message that is none ends the connection.
func TestWrongStreams(t *testing.T) {
	b := newBox(t)
	i, err := Start(b.encrypted("one", " timeouts {\n read 2s\n }"))
	if err != nil {
		t.Fatal(err)
	}
	defer i.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dial := func() *quic.Conn {
		conn, err := quic.DialAddr(ctx, fmt.Sprintf("127.0.0.1:%d", b.dot), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"doq"}}, &quic.Config{HandshakeIdleTimeout: patience, MaxIdleTimeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.CloseWithError(0, "") })
		return conn
	}
	send := func(conn *quic.Conn, text string) *quic.Stream {
		s, err := conn.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(patience))
		if _, err := s.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	conn := dial()
	half := send(conn, "\x00\x40abc")
	raw, err := query("quick").Pack()
	if err != nil {
		t.Fatal(err)
	}
	good := send(conn, string(binary.BigEndian.AppendUint16(nil, uint16(len(raw))))+string(raw))
	if body, err := io.ReadAll(good); err != nil || len(body) < 12 { // without our FIN
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if _, err := io.ReadAll(half); !errors.As(err, new(*quic.StreamError)) {
		t.Errorf("half a query: %v, want its stream reset", err)
	}
	if body, err := io.ReadAll(send(conn, string(binary.BigEndian.AppendUint16(nil, uint16(len(raw))))+string(raw))); err != nil || len(body) < 12 {
		t.Errorf("after it: %d bytes, %v", len(body), err)
	}
	for _, wrong := range []string{"\x00\x0c" + strings.Repeat("\xff", 12), "\x00\x0c" + strings.Repeat("\x00", 11) + "\x01"} {
		conn := dial()
		_, err := io.ReadAll(send(conn, wrong))
		var closed *quic.ApplicationError
		if !errors.As(err, &closed) || closed.ErrorCode != 2 {
			t.Errorf("%q: %v, want DOQ_PROTOCOL_ERROR", wrong, err)
		}
	}
}
