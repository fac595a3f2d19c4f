package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
	"github.com/nameroute/nameroute/test/netlab"
)

// certificate returns one for dns.example.org that signs itself, and who believes it.
func certificate(t *testing.T, until time.Time) (tls.Certificate, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"dns.example.org"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: c}, &tls.Config{RootCAs: pool}
}

// answered returns the answer to a packed query.
func answered(query []byte) []byte {
	m := new(dns.Msg)
	if m.Unpack(query) != nil {
		return nil
	}
	reply := new(dns.Msg).SetReply(m)
	switch q := m.Question[0]; {
	case q.Name == "dns.example.org." && q.Qtype == dns.TypeA:
		reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(127, 0, 0, 1)}}
	case q.Name != ".":
		reply.Rcode = dns.RcodeNameError
	}
	out, _ := reply.Pack()
	return out
}

// serve starts a resolver of a transport on a port of loopback.
func serve(t *testing.T, kind address.Transport, cert tls.Certificate, page http.HandlerFunc) uint16 {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	if page == nil {
		page = func(w http.ResponseWriter, r *http.Request) {
			query, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/dns-message")
			w.Write(answered(query))
		}
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		query, _ := m.Pack()
		w.Write(answered(query))
	})
	ln, pc := listen(t, kind)
	switch kind {
	case address.UDP:
		return run(t, &dns.Server{PacketConn: pc, Handler: handler}, pc.LocalAddr())
	case address.TCP:
		return run(t, &dns.Server{Listener: ln, Handler: handler}, ln.Addr())
	case address.TLS:
		return run(t, &dns.Server{Listener: tls.NewListener(ln, config), Handler: handler}, ln.Addr())
	case address.HTTPS:
		s := &http.Server{Handler: page, TLSConfig: config}
		go s.ServeTLS(ln, "", "")
		t.Cleanup(func() { s.Close() })
		return portOf(ln.Addr())
	case address.HTTP3:
		s := &http3.Server{Handler: page, TLSConfig: http3.ConfigureTLSConfig(config)}
		go s.Serve(pc)
		t.Cleanup(func() { s.Close() })
		return portOf(pc.LocalAddr())
	}
	config.NextProtos = []string{"doq"}
	l, err := quic.Listen(pc, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go serveQUIC(l)
	return portOf(pc.LocalAddr())
}

func serveQUIC(l *quic.Listener) {
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			return
		}
		go func() {
			for {
				s, err := c.AcceptStream(context.Background())
				if err != nil {
					return
				}
				framed, _ := io.ReadAll(s)
				reply := answered(framed[min(2, len(framed)):])
				s.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
				s.Close()
			}
		}()
	}
}

func listen(t *testing.T, kind address.Transport) (ln net.Listener, pc net.PacketConn) {
	t.Helper()
	var err error
	switch kind {
	case address.UDP, address.HTTP3, address.QUIC:
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err == nil {
			t.Cleanup(func() { pc.Close() })
		}
	default:
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
			t.Cleanup(func() { ln.Close() })
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return ln, pc
}

func run(t *testing.T, s *dns.Server, at net.Addr) uint16 {
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { s.Shutdown() })
	return portOf(at)
}

func portOf(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }

// A probe asks a resolver by its own transport, and says what keeps it from answering and
// what can be done about it.
func TestResolvers(t *testing.T) {
	netlab.Need(t)
	cfg := &gateway.Config{Mask: gateway.DefaultMask}
	cert, believed := certificate(t, time.Now().Add(24*time.Hour))
	old, believedOld := certificate(t, time.Now().Add(-24*time.Hour))
	plain := serve(t, address.UDP, cert, nil)
	stranger := trust.Pin(sha256.Sum256([]byte("another key")))
	page := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }
	gone := func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
	busy := func(w http.ResponseWriter, r *http.Request) { http.Error(w, "", http.StatusServiceUnavailable) }
	all := []address.Transport{address.UDP, address.TCP, address.TLS, address.HTTPS, address.HTTP3, address.QUIC}
	for _, c := range []struct {
		what, at string // the address, with PORT
		kinds    []address.Transport
		cert     tls.Certificate
		trust    trust.Options
		page     http.HandlerFunc
		level    status.Level
		want     []string
	}{
		{what: "it answers", at: "127.0.0.1", kinds: all, level: status.LevelOK, want: []string{": answers, in "}},
		{what: "it is named", at: "name", kinds: all[2:], level: status.LevelOK, want: []string{": answers, in "}},
		{what: "another name", at: "dns.example.net", kinds: all[2:], level: status.LevelError, want: []string{"certificate is valid for dns.example.org, not dns.example.net", ": a name that its certificate holds, after the address: ADDRESS%NAME"}},
		{what: "unknown authority", kinds: all[2:], trust: trust.Options{Config: &tls.Config{RootCAs: x509.NewCertPool()}}, level: status.LevelError, want: []string{"unknown authority", ": `tls CA` if it has an authority of its own"}},
		{what: "another key", kinds: all[2:], trust: trust.Options{Config: believed, Pins: []trust.Pin{stranger}}, level: status.LevelError, want: []string{"no certificate has the public key of a pin", ": if the resolver has new keys"}},
		{what: "it has ended", kinds: all[2:], cert: old, trust: trust.Options{Config: believedOld, Clock: &trust.Clock{Now: time.Now, Synchronized: func() bool { return true }}}, level: status.LevelError, want: []string{"certificate has expired", ": compare the clock of this box"}},
		{what: "no such path", kinds: all[3:5], page: gone, level: status.LevelError, want: []string{"HTTP status 404", ": its path is not /dns-query"}},
		{what: "a page", kinds: all[3:5], page: page, level: status.LevelError, want: []string{"content type", ": its path is not /dns-query"}},
		{what: "busy", kinds: all[3:5], page: busy, level: status.LevelError, want: []string{"HTTP status 503", ": the resolver does not serve this box now"}},
	} {
		for _, kind := range c.kinds {
			t.Run(c.what+" "+string(kind), func(t *testing.T) {
				if c.cert.Leaf == nil {
					c.cert = cert
				}
				if c.trust.Config == nil {
					c.trust.Config = believed
				}
				text := fmt.Sprintf("%s://127.0.0.1%%dns.example.org:%d", kind, serve(t, kind, c.cert, c.page))
				switch {
				case !kind.Encrypted():
					text = strings.Replace(text, "%dns.example.org", "", 1)
				case c.at == "name":
					text = strings.Replace(text, "127.0.0.1%", "", 1)
				case c.at == "dns.example.net":
					text = strings.Replace(text, "dns.example.org", c.at, 1)
				}
				checkUse(t, cfg, text, plain, c.trust, c.level, c.want...)
			})
		}
	}
	unused := portOf(func() net.Addr { ln, _ := listen(t, address.TCP); ln.Close(); return ln.Addr() }())
	for text, want := range map[string]string{
		fmt.Sprintf("tls://127.0.0.1:%d", unused):                                               ": nothing listens at its port ",
		fmt.Sprintf("tls://127.0.0.1:%d", serve(t, address.HTTP3, cert, nil)):                   ": nothing listens at its port ",
		fmt.Sprintf("quic://127.0.0.1%%dns.example.org:%d", serve(t, address.HTTP3, cert, nil)): ": something else than quic is spoken at this port",
		fmt.Sprintf("https://127.0.0.1%%dns.example.org:%d", serve(t, address.TLS, cert, nil)):  ": something else than https is spoken at this port",
		fmt.Sprintf("tls://127.0.0.1%%dns.example.org:%d", silentTCP(t)):                        " are dropped on the way there or back",
		fmt.Sprintf("quic://127.0.0.1%%dns.example.org:%d", silentUDP(t)):                       " are dropped on the way there or back",
		"https://nowhere.example.org":                                                           ": its address was not found: ",
	} {
		checkUse(t, cfg, text, plain, trust.Options{Config: believed}, status.LevelError, want)
	}
}

// silentTCP takes connections and says nothing.
func silentTCP(t *testing.T) uint16 {
	ln, _ := listen(t, address.TCP)
	return portOf(ln.Addr())
}

func silentUDP(t *testing.T) uint16 {
	_, pc := listen(t, address.UDP)
	return portOf(pc.LocalAddr())
}

func checkUse(t *testing.T, cfg *gateway.Config, text string, bootstrap uint16, o trust.Options, level status.Level, want ...string) {
	t.Helper()
	a, err := address.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u := Use{Route: gateway.WAN, Text: text, Address: a, Trust: o, Bootstrap: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), bootstrap)}}
	found := u.probe(t.Context(), cfg)
	if len(found) != 1 || found[0].Level != level {
		t.Fatalf("%s: %v, want %v", text, found, level)
	}
	for _, w := range want {
		if !strings.Contains(found[0].Text, w) {
			t.Errorf("%s: %q, want %q in it", text, found[0].Text, w)
		}
	}
}
