// Package stream holds the clients' connections, over every transport but UDP and gRPC, and passes
// their queries on to a server. The connections outlive the server: a reload attaches the next
// one, which gets all queries from then on, and no client has to reconnect.
//
// A Front answers the queries of a TCP or TLS connection side by side, in the order in which
// their answers are ready (RFC 7766 section 6.2.1.1), in front of a server that takes one query
// of a connection after the other, as miekg/dns does: each query is a connection of its own to
// that server. HTTPS and QUIC, which have streams, call the server for each.
package stream

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how a server wants its clients' connections to be handled.
type Options struct {
	TLS          *tls.Config   // nil: plain TCP
	ReadTimeout  time.Duration // of a handshake, of the first query, and of the rest of a query
	WriteTimeout time.Duration // of an answer; the connection ends after it
	IdleTimeout  time.Duration // without a query that waits for its answer
	MaxQueries   int           // of one connection; below 1: any number

	// MaxStreams is how many queries of one connection over HTTPS or QUIC may wait for their
	// answers, 64 at most; 0: as many.
	MaxStreams int

	// Ended is called with HTTP's status or DNS over QUIC's code for each query over these.
	// It may be nil.
	Ended func(code int)
}

// Front accepts the connections of one listener.
type Front struct {
	listener net.Listener
	bounds   *Bounds
	server   atomic.Pointer[attached]
	running  sync.WaitGroup // the connections

	mu      sync.Mutex
	conns   map[*conn]bool
	closing bool
}

// New returns the front of a listener. A server is attached to it before Serve.
func New(l net.Listener, b *Bounds) *Front {
	return &Front{listener: l, bounds: b, conns: map[*conn]bool{}}
}

// Attach returns the listener that brings a server the queries from now on. Those that the
// server before it has accepted are still answered by that one.
func (f *Front) Attach(o Options) net.Listener {
	a := &attached{front: f, options: o, queries: make(chan net.Conn), closed: make(chan struct{})}
	f.server.Store(a)
	return a
}

// Serve accepts connections until Close.
func (f *Front) Serve() error {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			f.mu.Lock()
			closing := f.closing
			f.mu.Unlock()
			if closing {
				return nil
			}
			if isTemporary(err) {
				time.Sleep(acceptPause)
				continue
			}
			return err
		}
		f.running.Go(func() { f.serve(c) })
	}
}

// acceptPause is waited when no file is left for a connection, so that others may end.
const acceptPause = 20 * time.Millisecond

func isTemporary(err error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}

// Close stops accepting connections and reading queries. What has been read is still
// answered; the server is stopped after it.
func (f *Front) Close() {
	f.mu.Lock()
	f.closing = true
	for c := range f.conns {
		c.stopReading()
	}
	f.mu.Unlock()
	f.listener.Close()
}

// Wait returns when the last connection has ended. When ctx ends it closes those that are
// left and returns.
func (f *Front) Wait(ctx context.Context) {
	if waitFor(ctx, &f.running) {
		return
	}
	f.mu.Lock()
	for c := range f.conns {
		c.net.Close()
	}
	f.mu.Unlock()
}

// add remembers a connection for Close. It reports false after that.
func (f *Front) add(c *conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closing {
		f.conns[c] = true
	}
	return !f.closing
}

func (f *Front) remove(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// deliver gives a query to the server that is attached when it has time for it. It reports
// false when that server has ended and there is no other.
func (f *Front) deliver(q net.Conn) bool {
	for {
		a := f.server.Load()
		select {
		case a.queries <- q:
			return true
		case <-a.closed:
			if f.server.Load() == a {
				return false
			}
		}
	}
}

// attached is the listener of one server.
type attached struct {
	front   *Front
	options Options
	queries chan net.Conn
	end     sync.Once
	closed  chan struct{}
}

func (a *attached) Accept() (net.Conn, error) {
	select {
	case q := <-a.queries:
		return q, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

func (a *attached) Close() error {
	a.end.Do(func() { close(a.closed) })
	return nil
}

func (a *attached) Addr() net.Addr { return a.front.listener.Addr() }
