package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/coredns/coredns/plugin/pkg/doh"
	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// maxHeader is how large the header of a request may be: a query in the URL has some 100 bytes.
const maxHeader = 16 << 10

// HTTPS accepts the connections of DNS over HTTPS (RFC 8484), HTTP/1.1 and HTTP/2, and in the
// clear where the server has no TLS. They outlive the servers that are attached to it.
type HTTPS struct {
	servers
	listener net.Listener
	bounds   *Bounds
	http     *http.Server
}

// NewHTTPS returns the front of a listener. Servers with SameHTTP options are attached to it
// before Serve.
func NewHTTPS(l net.Listener, b *Bounds, o Options) *HTTPS {
	f := &HTTPS{listener: l, bounds: b}
	f.http = &http.Server{
		Handler:     &doHandler{&f.servers},
		ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout, IdleTimeout: o.IdleTimeout,
		MaxHeaderBytes: maxHeader,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: o.streams()},
		ErrorLog:       stdlog.New(io.Discard, "", 0), // of what clients do wrong
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			who := &origin{local: c.LocalAddr(), remote: c.RemoteAddr(), tls: func() *tls.ConnectionState { return nil }}
			if t, ok := c.(*tls.Conn); ok {
				who.tls = func() *tls.ConnectionState { state := t.ConnectionState(); return &state }
				c = t.NetConn()
			}
			who.tally = c.(*limitedConn).tally
			return context.WithValue(ctx, clientKey{}, who)
		},
	}
	return f
}

// Serve accepts connections until Close.
func (f *HTTPS) Serve() error {
	err := f.http.Serve(&encrypting{f.bounds.Limit(f.listener), &f.servers})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close accepts no further connection and no further query. Pending queries are still answered.
func (f *HTTPS) Close() {
	f.close()
	f.listener.Close()
}

// Wait ends the connections when their queries are answered, at the latest when ctx ends.
func (f *HTTPS) Wait(ctx context.Context) {
	f.last.Wait(ctx)
	if f.http.Shutdown(ctx) != nil {
		f.http.Close()
	}
}

// encrypting makes TLS connections as the server that answers now wants them.
type encrypting struct {
	net.Listener
	servers *servers
}

func (e *encrypting) Accept() (net.Conn, error) {
	c, err := e.Listener.Accept()
	if o := e.servers.options(); err == nil && o.TLS != nil {
		c = tls.Server(c, o.TLS)
	}
	return c, err
}

// NewHTTP3 returns the front of a socket that speaks HTTP/3. Servers are attached to it before
// Serve.
func NewHTTP3(p net.PacketConn, b *Bounds) *QUIC {
	f := newQUIC(p, b)
	h := &doh3{front: f}
	h.http = &http3.Server{Handler: &doHandler{&f.servers}, MaxHeaderBytes: maxHeader, ConnContext: func(ctx context.Context, c *quic.Conn) context.Context {
		who, _ := h.clients.Load(c)
		return context.WithValue(ctx, clientKey{}, who)
	}}
	f.protocol = h
	return f
}

// doh3 is DNS over HTTP/3.
type doh3 struct {
	front   *QUIC
	http    *http3.Server
	clients sync.Map // the *origin of a *quic.Conn
}

func (*doh3) tls(c *tls.Config) *tls.Config  { return http3.ConfigureTLSConfig(c) }
func (*doh3) end() quic.ApplicationErrorCode { return quic.ApplicationErrorCode(http3.ErrCodeNoError) }
func (h *doh3) serve(c *quic.Conn, who *origin) {
	h.clients.Store(c, who)
	defer h.clients.Delete(c)
	h.http.ServeQUICConn(c)
}

type clientKey struct{}

// doHandler answers queries over HTTP.
type doHandler struct{ servers *servers }

// ServeHTTP implements http.Handler.
func (h *doHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != doh.Path {
		h.refuse(w, http.StatusNotFound)
		return
	}
	q, raw, err := doh.RequestToMsgWire(r)
	if err != nil || len(raw) < headerSize {
		h.refuse(w, http.StatusBadRequest)
		return
	}
	var answer []byte
	who := r.Context().Value(clientKey{}).(*origin)
	if !h.servers.answer(r.Context(), who, q, raw, func(b []byte) error { answer = b; return nil }) || answer == nil {
		h.refuse(w, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", doh.MimeType)
	w.Header().Set("Cache-Control", "max-age="+strconv.Itoa(freshness(answer)))
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	h.servers.ended(http.StatusOK)
	w.Write(answer)
}

func (h *doHandler) refuse(w http.ResponseWriter, status int) {
	h.servers.ended(status)
	http.Error(w, http.StatusText(status), status)
}

// freshness returns for how many seconds an answer may be reused (RFC 8484 section 5.1).
func freshness(answer []byte) int {
	m := new(dns.Msg)
	if m.Unpack(answer) != nil {
		return 0
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	least := uint32(0)
	first := true
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if ttl := rr.Header().Ttl; rr.Header().Rrtype != dns.TypeOPT && (first || ttl < least) {
				least, first = ttl, false
			}
		}
	}
	return int(least)
}
