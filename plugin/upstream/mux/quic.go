package mux

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/nameroute/nameroute/plugin/upstream/bootstrap"
)

// DoQ's error codes: RFC 9250, section 8.4.
const (
	doqNoError          = 0x0
	doqProtocolError    = 0x2
	doqRequestCancelled = 0x3
)

// quicIdle is how long a QUIC connection may be idle. It is closed much earlier, by expire.
const quicIdle = 30 * time.Second

// quicConn is a connection with the socket that is its own.
type quicConn struct {
	*quic.Conn
	transport *quic.Transport
}

// dialQUIC connects to the first of the resolver's addresses with which it works. Nothing is
// sent before the handshake has ended: early data could be replayed (RFC 9250, section 4.5).
func (o *Options) dialQUIC(ctx context.Context, streams int64) (*quicConn, error) {
	addrs, err := o.Addrs(ctx)
	if err != nil {
		return nil, err
	}
	return bootstrap.First(ctx, addrs, func(ctx context.Context, addr netip.AddrPort) (c *quicConn, err error) {
		err = o.Trust.Shake(func(cfg *tls.Config) error {
			c, err = o.connectQUIC(ctx, addr, cfg, streams)
			return err
		})
		return c, err
	}, func(c *quicConn) { c.end(doqNoError) })
}

func (o *Options) connectQUIC(ctx context.Context, addr netip.AddrPort, cfg *tls.Config, streams int64) (*quicConn, error) {
	network, any := "udp4", "0.0.0.0:0"
	if addr.Addr().Is6() {
		network, any = "udp6", "[::]:0"
	}
	socket, err := o.Listen(ctx, network, any)
	if err != nil {
		return nil, err
	}
	cfg = cfg.Clone()
	cfg.MinVersion = tls.VersionTLS13
	t := &quic.Transport{Conn: socket}
	c, err := t.Dial(ctx, net.UDPAddrFromAddrPort(addr), cfg, &quic.Config{
		HandshakeIdleTimeout: o.Timeout, MaxIdleTimeout: max(quicIdle, 2*o.Expire),
		MaxIncomingStreams: -1, MaxIncomingUniStreams: streams,
		InitialPacketSize: 1200, // a tunnel may carry no more than 1280 with the headers
	})
	if err != nil {
		t.Close() // the handshake's error is the one to return
		socket.Close()
		return nil, fmt.Errorf("quic %s: %w", cfg.ServerName, err)
	}
	return &quicConn{c, t}, nil
}

func (c *quicConn) received() uint64 { return c.ConnectionStats().PacketsReceived }
func (c *quicConn) usable() bool     { return c.Context().Err() == nil }

// end tells the resolver that the connection has ended, and closes the socket. Its errors
// mean nothing: the connection may have ended before.
func (c *quicConn) end(code quic.ApplicationErrorCode) {
	c.CloseWithError(code, "")
	c.transport.Close()
	c.transport.Conn.Close()
}

// doqConn speaks DNS over QUIC.
type doqConn struct{ *quicConn }

func (o *Options) dialDoQ(ctx context.Context) (conn, error) {
	c, err := o.dialQUIC(ctx, -1)
	if err != nil {
		return nil, err
	}
	return doqConn{c}, nil
}

func (c doqConn) close() { c.end(doqNoError) }

// exchange sends the query on a stream of its own, whose end it is (RFC 9250, section 4.2).
func (c doqConn) exchange(ctx context.Context, framed []byte) (Reply, error) {
	s, err := c.OpenStreamSync(ctx)
	if err != nil {
		return Reply{}, err
	}
	defer context.AfterFunc(ctx, func() {
		s.CancelRead(doqRequestCancelled)
		s.CancelWrite(doqRequestCancelled)
	})()
	if _, err := s.Write(framed); err != nil {
		return Reply{}, err
	}
	s.Close() // of our direction; that it was sent shows by the reply
	msg, err := readFramed(s)
	if err != nil {
		s.CancelRead(doqRequestCancelled)
		return Reply{}, err
	}
	if id := binary.BigEndian.Uint16(msg); id != 0 {
		c.CloseWithError(doqProtocolError, "message id is not 0")
		return Reply{}, failure("malformed", "the reply has the id %d, not 0 (RFC 9250, section 4.2.1)", id)
	}
	// The end of the stream comes with the reply. Where it does not, the resolver is told.
	var none [1]byte
	s.SetReadDeadline(time.Now().Add(lingering))
	s.Read(none[:])
	s.CancelRead(doqNoError)
	return Reply{Msg: msg}, nil
}

// readFramed reads a message that follows the two bytes of its length.
func readFramed(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, ended(err)
	}
	n := binary.BigEndian.Uint16(length[:])
	if n < 2 {
		return nil, failure("malformed", "the reply has %d bytes", n)
	}
	msg := make([]byte, n)
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, ended(err)
	}
	return msg, nil
}

// ended tells a stream that ends early, which is the resolver's doing, from a broken
// connection.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return failure("body", "the reply is cut short: %w", err)
	}
	return err
}

// http3Dialer opens connections of HTTP/3.
type http3Dialer struct {
	options *Options
	to      *url.URL
	http    http3.Transport
}

// controlStreams are the streams that a server opens: its control stream and two of QPACK,
// and others of which we know nothing (RFC 9114, section 6.2).
const controlStreams = 8

func newHTTP3(o *Options) *http3Dialer {
	return &http3Dialer{o, target(o.Address, o.Trust.Name()), http3.Transport{DisableCompression: true, MaxResponseHeaderBytes: 16 << 10}}
}

func (h *http3Dialer) dial(ctx context.Context) (conn, error) {
	c, err := h.options.dialQUIC(ctx, controlStreams)
	if err != nil {
		return nil, err
	}
	return http3Conn{c, h.http.NewClientConn(c.Conn), h.to}, nil
}

type http3Conn struct {
	*quicConn
	http *http3.ClientConn
	to   *url.URL
}

func (c http3Conn) exchange(ctx context.Context, framed []byte) (Reply, error) {
	resp, err := c.http.RoundTrip(request(ctx, c.to, framed[2:]))
	if err != nil {
		return Reply{}, err
	}
	return reply(resp)
}

func (c http3Conn) close() { c.end(quic.ApplicationErrorCode(http3.ErrCodeNoError)) }
