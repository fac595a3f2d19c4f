package coredns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/datagrams"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/stream"
)

// server is one of CoreDNS's servers with what it listens on.
type server struct {
	caddy    caddy.Server
	listener net.Listener   // nil: none of TCP
	packets  net.PacketConn // nil: none of UDP

	kind     kind
	front    front // nil where CoreDNS's own server has the connections
	began    bool  // the front was opened for this server, not taken over
	options  stream.Options
	plain    *dnsserver.Server // what answers the front's queries
	queries  net.Listener      // where it gets those of TCP and TLS
	attached *stream.Server    // or what stands for it at the front
	bounds   *stream.Bounds    // of the front

	maxConnections int // of HTTPS and QUIC; 0: no limit of their own
	limits         limits

	datagrams *datagrams.Front  // reads the queries over UDP; nil: CoreDNS's own server does
	asked     *datagrams.Server // what hands them to that server
	opened    bool              // datagrams was opened for this server, not taken over

	taken           bool // by the next instance
	handedOn        bool // with its front
	datagramsHanded bool // with datagrams
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
				s.taken, s.handedOn, s.datagramsHanded = false, false, false
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
		if err := s.open(); err != nil {
			return all, err
		}
	}
	return all, nil
}

// open opens what the server listens on and has not taken over.
func (s *server) open() (err error) {
	m := s.caddy
	if s.listener == nil {
		if s.listener, err = m.Listen(); mayListenAhead(m, err) {
			s.listener, err = listenAhead(s.address())
		}
		if err != nil {
			return err
		}
	}
	if s.packets == nil {
		if s.kind.overQUIC() { // CoreDNS would read the socket at once
			s.packets, err = listenPacketAhead(s.address())
		} else if s.packets, err = m.ListenPacket(); mayListenAhead(m, err) {
			s.packets, err = listenPacketAhead(s.address())
		}
		if err != nil {
			return err
		}
	}
	widen(s.packets)
	s.openFront()
	return s.openDatagrams()
}

// readsDatagrams reports whether the server's queries over UDP are read for it. With PROXY
// protocol before them they are CoreDNS's own business.
func (s *server) readsDatagrams() bool {
	_, plain := s.caddy.(*dnsserver.Server)
	return plain && isDirect(s.caddy)
}

// openDatagrams makes what reads the server's socket, unless that was taken over.
func (s *server) openDatagrams() (err error) {
	conn, ok := s.packets.(*net.UDPConn)
	if s.datagrams == nil && ok && s.readsDatagrams() {
		s.opened = true
		s.datagrams, err = datagrams.New(conn)
	}
	return err
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
			if o.front != nil && o.kind == s.kind && (s.kind != overHTTPS || o.options.SameHTTP(s.options)) {
				s.front, s.bounds, s.listener, o.handedOn = o.front, o.bounds, o.listener, true
			} else if s.listener, err = copyOf(l, net.FileListener); err != nil {
				return err
			}
		}
		if o.kind.overQUIC() && o.kind == s.kind {
			s.front, s.bounds, s.packets, o.handedOn = o.front, o.bounds, o.packets, true
		} else if o.datagrams != nil && s.readsDatagrams() {
			s.datagrams, s.packets, o.datagramsHanded = o.datagrams, o.packets, true
		} else if p, ok := o.packets.(caddy.PacketConn); ok {
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
	if s.front != nil && !s.began {
		s.listener = nil // the old instance goes on with it
		if s.kind.overQUIC() {
			s.packets = nil
		}
	}
	if s.datagrams != nil && !s.opened {
		s.packets = nil
	}
	if s.listener != nil {
		s.listener.Close()
	}
	if s.packets != nil {
		s.packets.Close()
	}
}

// serve starts the server.
func (s *server) serve(running *sync.WaitGroup) {
	if s.front != nil {
		s.attach(running)
	}
	if s.front == nil || s.kind == overStream {
		l, handler := s.listener, caddy.TCPServer(s.caddy)
		if s.queries != nil {
			l, handler = s.queries, s.plain
		} else if _, ok := l.(caddy.Listener); ok {
			l = s.limits.others.Limit(l)
		}
		running.Go(func() { s.log(handler.Serve(l)) })
		packets := s.packets
		if s.datagrams != nil {
			s.asked = s.datagrams.Attach()
			packets = s.asked
		}
		running.Go(func() { s.log(s.caddy.ServePacket(packets)) })
		if s.datagrams != nil && s.opened {
			running.Go(func() { s.log(s.datagrams.Serve()) })
		}
	}
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
	mine := s.front != nil && !s.handedOn
	if mine {
		s.front.Close()
	}
	if s.attached != nil {
		s.attached.Wait(ctx)
	} else if g, ok := s.caddy.(caddy.Stopper); ok {
		if err := g.Stop(); err != nil {
			slog.Warn("stopped a listener before its last queries were answered", "part", "resolver", "listener", s.address(), "error", err)
		}
	}
	// A server that is stopped before it has begun does not close what it would serve.
	if s.queries != nil {
		s.queries.Close()
	}
	switch {
	case s.datagrams != nil:
		s.asked.Close()
		s.asked.HandOn()
		if !s.datagramsHanded {
			s.datagrams.Close()
		}
	case s.packets != nil && !s.kind.overQUIC():
		s.packets.Close()
	}
	if mine {
		s.front.Wait(ctx)
	}
}
