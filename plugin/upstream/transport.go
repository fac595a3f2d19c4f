package upstream

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/bootstrap"
	"github.com/nameroute/nameroute/plugin/upstream/framing"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
)

// dialer opens marked sockets to one address.
type dialer struct {
	net     *net.Dialer
	addrs   places
	expire  time.Duration
	timeout time.Duration
	trust   *trust.Server // nil for plain TCP
}

// places finds where a resolver is: its address, or those that its name has.
type places func(context.Context) ([]netip.AddrPort, error)

func at(a netip.AddrPort) places {
	return func(context.Context) ([]netip.AddrPort, error) { return []netip.AddrPort{a}, nil }
}

// udp makes a socket with a source port of its own, which the kernel draws at
// random (RFC 5452, section 9.2). Nothing is sent.
func (d dialer) udp(ctx context.Context) (*socket, error) {
	addrs, err := d.addrs(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := d.net.DialContext(ctx, "udp", addrs[0].String())
	if err != nil {
		return nil, err
	}
	return newSocket(conn, framing.NewDatagrams(conn), true, d.expire), nil
}

// stream connects, with a TLS handshake where d.trust is set.
func (d dialer) stream(ctx context.Context) (*socket, error) {
	addrs, err := d.addrs(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := bootstrap.First(ctx, addrs, d.connect, func(c net.Conn) { c.Close() })
	if err != nil {
		return nil, err
	}
	return newSocket(conn, framing.NewStream(conn, d.timeout/8), false, d.expire), nil
}

func (d dialer) connect(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	if d.trust == nil {
		return d.net.DialContext(ctx, "tcp", addr.String())
	}
	return d.trust.Dial(ctx, func() (net.Conn, error) { return d.net.DialContext(ctx, "tcp", addr.String()) })
}
