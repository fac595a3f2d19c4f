package coredns

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/stream"
)

// front has the clients' connections of a listener.
type front interface {
	Serve() error
	Close()
	Wait(context.Context)
}

// kind is how the clients of a front ask.
type kind int

const (
	noFront    kind = iota
	overStream      // TCP and TLS
	overHTTPS
	overHTTP3
	overDoQ
)

func (k kind) overQUIC() bool { return k == overHTTP3 || k == overDoQ }

// frontOf finds out whether the server's queries come through a front. With PROXY protocol
// before them, HTTPS and QUIC are CoreDNS's own business.
func (s *server) frontOf(m caddy.Server) (err error) {
	var responses *prometheus.CounterVec
	code := strconv.Itoa
	switch m := m.(type) {
	case *dnsserver.Server:
		s.kind, s.plain = overStream, m
	case *dnsserver.ServerTLS:
		s.kind, s.plain = overStream, m.Server
	case *dnsserver.ServerHTTPS:
		s.kind, s.plain, responses = overHTTPS, m.Server, vars.HTTPSResponsesCount
	case *dnsserver.ServerHTTPS3:
		s.kind, s.plain, responses = overHTTP3, m.Server, vars.HTTPS3ResponsesCount
	case *dnsserver.ServerQUIC:
		s.kind, s.plain, responses = overDoQ, m.Server, vars.QUICResponsesCount
		code = func(c int) string { return fmt.Sprintf("%#x", c) }
	default:
		return nil
	}
	if responses != nil && !isDirect(m) {
		s.kind, s.plain = noFront, nil
		return nil
	}
	p := s.plain
	s.options = stream.Options{ReadTimeout: p.ReadTimeout, WriteTimeout: p.WriteTimeout, IdleTimeout: p.IdleTimeout, MaxQueries: p.MaxTCPQueries}
	if m != caddy.Server(p) {
		if s.options.TLS, err = tlsConfig(m); err != nil {
			return err
		}
	}
	if s.kind.overQUIC() && s.options.TLS == nil {
		return fmt.Errorf("%s has no certificate: want tls CERT KEY in its block", p.Addr)
	}
	if responses == nil {
		return nil
	}
	s.options.Ended = func(c int) { responses.WithLabelValues(p.Addr, code(c)).Inc() }
	if s.maxConnections, err = number(m, "maxConnections"); err == nil && s.kind.overQUIC() {
		s.options.MaxStreams, err = number(m, "maxStreams")
	}
	return err
}

// errLayout is returned for a version of CoreDNS that keeps what *tls*, *https*, *https3* and
// *quic* say elsewhere. It has no methods for them; a test fails then.
var errLayout = errors.New("this version of CoreDNS keeps its servers' options elsewhere than v1.15")

// tlsConfig returns what a server has from *tls*.
func tlsConfig(m caddy.Server) (*tls.Config, error) {
	f := reflect.ValueOf(m).Elem().FieldByName("tlsConfig")
	if !f.IsValid() || f.Type() != reflect.TypeFor[*tls.Config]() {
		return nil, errLayout
	}
	return (*tls.Config)(f.UnsafePointer()), nil
}

// number returns what a server has from *https*, *https3* or *quic*.
func number(m caddy.Server, name string) (int, error) {
	f := reflect.ValueOf(m).Elem().FieldByName(name)
	if !f.IsValid() || f.Kind() != reflect.Int {
		return 0, errLayout
	}
	return int(f.Int()), nil
}

// openFront makes the server's front, unless it has one that was taken over.
func (s *server) openFront() {
	if s.front != nil || s.kind == noFront {
		return
	}
	s.began = true
	if s.bounds = s.limits.streams; s.kind != overStream {
		s.bounds = stream.NewBounds(logEvicted)
	}
	switch s.kind {
	case overStream:
		s.front = stream.New(s.listener, s.bounds)
	case overHTTPS:
		s.front = stream.NewHTTPS(s.listener, s.bounds, s.options)
	case overHTTP3:
		s.front = stream.NewHTTP3(s.packets, s.bounds)
	case overDoQ:
		s.front = stream.NewQUIC(s.packets, s.bounds)
	}
}

// attach has the server answer the queries of its front.
func (s *server) attach(running *sync.WaitGroup) {
	if f, ok := s.front.(*stream.Front); ok {
		s.queries = f.Attach(s.options)
	} else {
		s.bounds.Resize(s.maxConnections)
		s.attached = s.front.(interface {
			Attach(stream.Options, stream.Handler) *stream.Server
		}).Attach(s.options, s.answer)
	}
	if s.began {
		running.Go(func() { s.log(s.front.Serve()) })
	}
}

// answer answers one query, as CoreDNS's own listener would have it answered.
func (s *server) answer(ctx context.Context, w dns.ResponseWriter, q *dns.Msg) {
	ctx = context.WithValue(ctx, dnsserver.Key{}, s.plain)
	s.plain.ServeDNS(context.WithValue(ctx, dnsserver.LoopKey{}, 0), w, q)
}
