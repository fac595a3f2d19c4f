package stream

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/miekg/dns"
)

// Handler answers one query, as CoreDNS's servers do.
type Handler func(ctx context.Context, w dns.ResponseWriter, q *dns.Msg)

// Server is what answers the queries of a QUIC or HTTPS front, until the next one is attached.
type Server struct {
	handler Handler
	options Options
	running sync.WaitGroup // queries
}

// Wait returns when the queries that the server has are answered, or when ctx ends. Another
// server is attached before, or the front is closed.
func (s *Server) Wait(ctx context.Context) {
	waitFor(ctx, &s.running)
}

// waitFor reports whether all of g ended before ctx did.
func waitFor(ctx context.Context, g *sync.WaitGroup) bool {
	ended := make(chan struct{})
	go func() {
		g.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return true
	case <-ctx.Done():
		return false
	}
}

// streams returns how many queries of a connection may wait for their answers.
func (o Options) streams() int {
	if o.MaxStreams < 1 {
		return connQueries
	}
	return min(o.MaxStreams, connQueries)
}

// SameHTTP reports whether connections over HTTPS are served alike with both.
func (o Options) SameHTTP(p Options) bool {
	return o.ReadTimeout == p.ReadTimeout && o.WriteTimeout == p.WriteTimeout && o.IdleTimeout == p.IdleTimeout && o.streams() == p.streams()
}

// servers knows the one that answers now.
type servers struct {
	mu     sync.Mutex
	last   *Server
	closed bool
}

// Attach makes a server answer all queries from now on; new connections get its options.
func (s *servers) Attach(o Options, h Handler) *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = &Server{handler: h, options: o}
	return s.last
}

// options returns those of the server that answers now.
func (s *servers) options() Options {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.options
}

// ended counts a query that is over.
func (s *servers) ended(code int) {
	if f := s.options().Ended; f != nil {
		f(code)
	}
}

// begin returns the server for one query, which calls running.Done after it; nil after close.
func (s *servers) begin() *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.last.running.Add(1)
	return s.last
}

// close has no further query answered.
func (s *servers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *servers) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// answer has one query answered; send is called with each message of the answer. It reports
// false when there is no server.
func (s *servers) answer(ctx context.Context, c *origin, q *dns.Msg, raw []byte, send func([]byte) error) bool {
	c.begin()
	defer c.finish()
	server := s.begin()
	if server == nil {
		return false
	}
	defer server.running.Done()
	w := &writer{origin: c, send: send, wants: wantsOf(raw, c.tls() != nil)}
	w.wants.keepalive = false // that of TCP, where HTTP and QUIC have their own (RFC 9250 section 5.5.2)
	if q.IsTsig() != nil {
		w.tsig = dns.ErrSecret
	}
	server.handler(ctx, w, q)
	return true
}

// writer is where a server writes the answer to one query.
type writer struct {
	origin *origin
	send   func([]byte) error
	wants  wants
	tsig   error
}

// WriteMsg implements dns.ResponseWriter.
func (w *writer) WriteMsg(m *dns.Msg) error {
	b, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// Write implements dns.ResponseWriter.
func (w *writer) Write(b []byte) (int, error) {
	out := b
	if len(b) >= headerSize {
		out, _ = w.wants.give(b, 0)
	}
	if err := w.send(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// The addresses are those of TCP: what tells the transports apart by them takes UDP for
// datagrams, and would cut the answer.
func (w *writer) LocalAddr() net.Addr  { return asTCP(w.origin.local) }
func (w *writer) RemoteAddr() net.Addr { return asTCP(w.origin.remote) }

// ConnectionState implements dns.ConnectionStater.
func (w *writer) ConnectionState() *tls.ConnectionState { return w.origin.tls() }

func (w *writer) Close() error        { return nil }
func (w *writer) TsigStatus() error   { return w.tsig }
func (w *writer) TsigTimersOnly(bool) {}
func (w *writer) Hijack()             {}

// origin is the connection that queries come by, for code that must not read it.
type origin struct {
	*tally
	local, remote net.Addr
	tls           func() *tls.ConnectionState // nil in the clear
}

func asTCP(a net.Addr) net.Addr {
	if u, ok := a.(*net.UDPAddr); ok {
		return &net.TCPAddr{IP: u.IP, Port: u.Port, Zone: u.Zone}
	}
	return a
}
