package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// datagramSize is more than a resolver that was told udpSize sends. A longer reply is
// cut by the kernel, does not unpack and is queried again over TCP.
const datagramSize = 4096

// datagrams frames UDP: a message is a packet.
type datagrams struct {
	conn net.Conn
	buf  [datagramSize]byte
}

func (d *datagrams) write(framed []byte) error {
	_, err := d.conn.Write(framed[2:])
	return err
}

func (d *datagrams) read() ([]byte, error) {
	n, err := d.conn.Read(d.buf[:])
	return d.buf[:n], err
}

// stream frames TCP and TLS: RFC 7766, section 8.
type stream struct {
	conn    net.Conn
	in      *bufio.Reader
	buf     []byte
	timeout time.Duration // for one write, of which the socket's buffer takes many

	mu sync.Mutex // serializes writes
}

func (s *stream) write(framed []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	// Length and message in one write: RFC 7766, section 8.
	_, err := s.conn.Write(framed)
	return closedByPeer(err)
}

func (s *stream) read() ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(s.in, length[:]); err != nil {
		return nil, closedByPeer(err)
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > cap(s.buf) {
		s.buf = make([]byte, n)
	}
	_, err := io.ReadFull(s.in, s.buf[:n])
	return s.buf[:n], closedByPeer(err)
}

// closedByPeer marks the errors after which a new connection may work.
func closedByPeer(err error) error {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}

// dialer opens marked sockets to one address.
type dialer struct {
	net     *net.Dialer
	addr    string
	expire  time.Duration
	timeout time.Duration
	tls     *tls.Config // nil for plain TCP
}

// udp makes a socket with a source port of its own, which the kernel draws at
// random (RFC 5452, section 9.2). Nothing is sent.
func (d dialer) udp(ctx context.Context) (*socket, error) {
	conn, err := d.net.DialContext(ctx, "udp", d.addr)
	if err != nil {
		return nil, err
	}
	return newSocket(conn, &datagrams{conn: conn}, true, d.expire), nil
}

// stream connects, with a TLS handshake where d.tls is set.
func (d dialer) stream(ctx context.Context) (*socket, error) {
	conn, err := d.net.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, err
	}
	if d.tls != nil {
		secure := tls.Client(conn, d.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close() // the handshake's error is the one to return
			return nil, fmt.Errorf("tls %s: %w", d.tls.ServerName, err)
		}
		conn = secure
	}
	return newSocket(conn, &stream{conn: conn, in: bufio.NewReader(conn), timeout: d.timeout / 8}, false, d.expire), nil
}
