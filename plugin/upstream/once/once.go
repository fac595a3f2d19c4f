// Package once asks a resolver one query by its own transport, over sockets with a mark: for
// who wants to know whether it answers, and what keeps it from that.
package once

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/bootstrap"
	"github.com/nameroute/nameroute/plugin/upstream/framing"
	"github.com/nameroute/nameroute/plugin/upstream/mux"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// Resolver is a resolver with all that it takes to ask it.
type Resolver struct {
	Address address.Address
	Addrs   []netip.AddrPort // where it is
	Trust   trust.Options
	Mark    gateway.Mark
	Timeout time.Duration // for the whole of it
}

// Ask sends a query and returns its reply.
func (r Resolver) Ask(ctx context.Context, q dns.Question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	using := wire.TCP | wire.EDNS
	if r.Address.Transport == address.UDP {
		using = wire.UDP | wire.EDNS | wire.Large | wire.Case
	}
	query, err := wire.Query{Question: q}.Pack(using, wire.Cookie{}, r.Address.Transport.Encrypted())
	if err != nil {
		return nil, err
	}
	msg, err := r.exchange(ctx, query)
	if err != nil {
		return nil, err
	}
	if v := wire.Match(query, msg, true); v != wire.Accepted {
		return nil, fmt.Errorf("its reply answers another query: %s", v)
	}
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		return nil, fmt.Errorf("malformed reply: %w", err)
	}
	return m, nil
}

func (r Resolver) exchange(ctx context.Context, query wire.Packed) ([]byte, error) {
	dialer := markdial.Dialer(r.Mark, 0)
	if !r.Address.Transport.Multiplexed() {
		return r.overSocket(ctx, dialer, query)
	}
	c := mux.NewClient(mux.Options{
		Address: r.Address, Addrs: func(context.Context) ([]netip.AddrPort, error) { return r.Addrs, nil },
		Trust: trust.NewServer(r.Address, r.Trust), Dial: dialer.DialContext, Listen: markdial.ListenConfig(r.Mark).ListenPacket,
		Timeout: r.Timeout, Expire: r.Timeout,
	})
	defer c.Close()
	reply, err := c.Exchange(ctx, query.Framed)
	return reply.Msg, err
}

// overSocket asks over UDP, TCP or TLS.
func (r Resolver) overSocket(ctx context.Context, dialer *net.Dialer, query wire.Packed) ([]byte, error) {
	network := "tcp"
	if r.Address.Transport == address.UDP {
		network = "udp"
	}
	query.SetID(dns.Id())
	conn, err := bootstrap.First(ctx, r.Addrs, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		open := func() (net.Conn, error) { return dialer.DialContext(ctx, network, to.String()) }
		if !r.Address.Transport.Encrypted() {
			return open()
		}
		return trust.NewServer(r.Address, r.Trust).Dial(ctx, open)
	}, func(c net.Conn) { c.Close() })
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return nil, err
		}
	}
	if network == "tcp" {
		s := framing.NewStream(conn, r.Timeout)
		if err := s.Write(query.Framed); err != nil {
			return nil, err
		}
		return s.Read()
	}
	s := framing.NewDatagrams(conn)
	if err := s.Write(query.Framed); err != nil {
		return nil, err
	}
	for {
		msg, err := s.Read()
		if err != nil || wire.Match(query, msg, true) == wire.Accepted && msg[0] == query.Msg()[0] && msg[1] == query.Msg()[1] {
			return msg, err
		}
	}
}
