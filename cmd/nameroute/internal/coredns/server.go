package coredns

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"reflect"
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/stream"
)

// server is one of CoreDNS's servers with what it listens on.
type server struct {
	caddy    caddy.Server
	listener net.Listener   // nil: none of TCP
	packets  net.PacketConn // nil: none of UDP

	front   *stream.Front // of plain TCP and TLS, else nil
	began   bool          // the front was opened for this server, not taken over
	options stream.Options
	handler caddy.TCPServer // what serves the front's queries
	queries net.Listener    // where it gets them
	limits  limits

	taken bool // by the next instance
}

// listen opens what the servers listen on, or takes it over from an old instance.
func listen(made []caddy.Server, old *Instance, l limits) (all []*server, err error) {
	defer func() {
		if err == nil {
			return
		}
		for _, s := range all {
			s.abandon()
		}
		if old != nil {
			for _, s := range old.servers {
				s.taken = false
			}
		}
	}()
	for _, m := range made {
		s := &server{caddy: m, limits: l}
		all = append(all, s)
		if err := s.frontOf(m); err != nil {
			return all, err
		}
		if old != nil {
			if err := s.takeOver(old.servers); err != nil {
				return all, err
			}
		}
		if s.listener == nil {
			if s.listener, err = m.Listen(); mayListenAhead(m, err) {
				s.listener, err = listenAhead(s.address())
			}
			if err != nil {
				return all, err
			}
		}
		if s.packets == nil {
			if s.packets, err = m.ListenPacket(); mayListenAhead(m, err) {
				s.packets, err = listenPacketAhead(s.address())
			}
			if err != nil {
				return all, err
			}
		}
		widen(s.packets)
		if s.handler != nil && s.front == nil {
			s.front, s.began = stream.New(s.listener, l.streams), true
		}
	}
	return all, nil
}

// frontOf finds out whether the server's queries come through a front.
func (s *server) frontOf(m caddy.Server) error {
	var plain *dnsserver.Server
	switch m := m.(type) {
	case *dnsserver.Server:
		plain = m
	case *dnsserver.ServerTLS:
		// The front does TLS, so the queries go to the plain server within.
		c, err := tlsConfig(m)
		if err != nil {
			return err
		}
		plain, s.options.TLS = m.Server, c
	default:
		return nil
	}
	s.handler = plain
	s.options.ReadTimeout, s.options.WriteTimeout = plain.ReadTimeout, plain.WriteTimeout
	s.options.IdleTimeout, s.options.MaxQueries = plain.IdleTimeout, plain.MaxTCPQueries
	return nil
}

// tlsConfig returns what a server has from *tls*. It has no method for it; a test fails
// when a new version of CoreDNS keeps it elsewhere.
func tlsConfig(s *dnsserver.ServerTLS) (*tls.Config, error) {
	f := reflect.ValueOf(s).Elem().FieldByName("tlsConfig")
	if !f.IsValid() || f.Type() != reflect.TypeFor[*tls.Config]() {
		return nil, errors.New("this version of CoreDNS keeps its servers' TLS elsewhere than v1.15")
	}
	return (*tls.Config)(f.UnsafePointer()), nil
}

// takeOver gets what an old server of the same address listens on. A listener with PROXY
// protocol before it is opened anew beside the old one, as CoreDNS does.
func (s *server) takeOver(old []*server) error {
	for _, o := range old {
		if o.taken || o.address() == "" || o.address() != s.address() {
			continue
		}
		o.taken = true
		var err error
		if l, ok := o.listener.(caddy.Listener); ok {
			if o.front != nil {
				s.front, s.listener = o.front, o.listener
			} else if s.listener, err = copyOf(l, net.FileListener); err != nil {
				return err
			}
		}
		if p, ok := o.packets.(caddy.PacketConn); ok {
			s.packets, err = copyOf(p, net.FilePacketConn)
		}
		return err
	}
	return nil
}

func (s *server) address() string {
	if g, ok := s.caddy.(caddy.GracefulServer); ok {
		return g.Address()
	}
	return ""
}

// copyOf makes another of what has a file.
func copyOf[T any](of interface{ File() (*os.File, error) }, open func(*os.File) (T, error)) (T, error) {
	file, err := of.File()
	if err != nil {
		var none T
		return none, fmt.Errorf("take over a listener: %w", err)
	}
	defer file.Close()
	return open(file)
}

// abandon closes what was opened for a server that is not started.
func (s *server) abandon() {
	if s.listener != nil && (s.front == nil || s.began) {
		s.listener.Close()
	}
	if s.packets != nil {
		s.packets.Close()
	}
}

// serve starts the server.
func (s *server) serve(running *sync.WaitGroup) {
	l, handler := s.listener, caddy.TCPServer(s.caddy)
	if s.front != nil {
		s.queries = s.front.Attach(s.options)
		l, handler = s.queries, s.handler
		if s.began {
			running.Go(func() { s.log(s.front.Serve()) })
		}
	} else if _, ok := l.(caddy.Listener); ok {
		l = s.limits.others.Limit(l)
	}
	running.Go(func() { s.log(handler.Serve(l)) })
	running.Go(func() { s.log(s.caddy.ServePacket(s.packets)) })
}

// log logs why a server ended by itself.
func (s *server) log(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		slog.Error("a listener ended", "part", "resolver", "listener", s.address(), "error", err)
	}
}

// stop ends the server when its queries are answered, and its front unless the next
// instance has it.
func (s *server) stop(ctx context.Context) {
	mine := s.front != nil && !s.handedOn()
	if mine {
		s.front.Close()
	}
	if g, ok := s.caddy.(caddy.Stopper); ok {
		if err := g.Stop(); err != nil {
			slog.Warn("stopped a listener before its last queries were answered", "part", "resolver", "listener", s.address(), "error", err)
		}
	}
	// A server that is stopped before it has begun does not close what it would serve.
	for _, l := range []io.Closer{s.queries, s.packets} {
		if l != nil {
			l.Close()
		}
	}
	if mine {
		s.front.Wait(ctx)
	}
}

// handedOn reports whether the next instance has the server's front.
func (s *server) handedOn() bool {
	_, ok := s.listener.(caddy.Listener)
	return s.taken && ok
}
