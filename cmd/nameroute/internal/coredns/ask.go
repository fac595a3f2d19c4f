package coredns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/metadata"
	"github.com/miekg/dns"
)

// Reply is the answer to a query that came by no socket.
type Reply struct {
	*dns.Msg
	Metadata map[string]string // of the plugins; empty where *metadata* keeps it to itself
}

// Listener is an address at which plain DNS is answered.
type Listener struct {
	Host string // "": all addresses
	Port string
}

// Listeners returns them in the order of the servers.
func (i *Instance) Listeners() (all []Listener) {
	for _, s := range i.servers {
		if l, ok := s.plainDNS(); ok {
			all = append(all, l)
		}
	}
	return all
}

func (s *server) plainDNS() (l Listener, ok bool) {
	if _, ok := s.caddy.(*dnsserver.Server); !ok {
		return l, false
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s.address(), "dns://"))
	return Listener{host, port}, err == nil
}

// Ask has a listener answer a query as that of a client, by the plugins of its blocks. It is
// a query as any other: it is counted, cached and learned from.
func (i *Instance) Ask(ctx context.Context, at Listener, client, here netip.AddrPort, q *dns.Msg) (Reply, error) {
	for _, s := range i.servers {
		if l, ok := s.plainDNS(); !ok || l != at {
			continue
		}
		ctx = context.WithValue(ctx, dnsserver.Key{}, s.plain)
		ctx = metadata.ContextWithMetadata(context.WithValue(ctx, dnsserver.LoopKey{}, 0))
		w := &catcher{client: client, here: here}
		s.plain.ServeDNS(ctx, w, q)
		if w.got == nil {
			return Reply{}, errors.New("the query was not answered")
		}
		r := Reply{Msg: w.got, Metadata: map[string]string{}}
		for label, f := range metadata.ValueFuncs(ctx) {
			r.Metadata[label] = f()
		}
		return r, nil
	}
	return Reply{}, errors.New("no listener of plain DNS")
}

// catcher is the writer of such an answer.
type catcher struct {
	client, here netip.AddrPort
	got          *dns.Msg
}

// LocalAddr implements dns.ResponseWriter. The client asks over TCP, so that nothing of the
// answer is cut off.
func (c *catcher) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.here) }

// RemoteAddr implements dns.ResponseWriter.
func (c *catcher) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.client) }

// WriteMsg implements dns.ResponseWriter.
func (c *catcher) WriteMsg(m *dns.Msg) error {
	c.got = m
	return nil
}

// Write implements dns.ResponseWriter.
func (c *catcher) Write(b []byte) (int, error) {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return 0, err
	}
	c.got = m
	return len(b), nil
}

// Close implements dns.ResponseWriter.
func (*catcher) Close() error { return nil }

// TsigStatus implements dns.ResponseWriter.
func (*catcher) TsigStatus() error { return nil }

// TsigTimersOnly implements dns.ResponseWriter.
func (*catcher) TsigTimersOnly(bool) {}

// Hijack implements dns.ResponseWriter.
func (*catcher) Hijack() {}
