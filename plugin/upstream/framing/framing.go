// Package framing tells the messages of datagram sockets and of streams apart.
package framing

import (
	"bufio"
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

// Datagrams frames UDP: a message is a packet.
type Datagrams struct {
	conn net.Conn
	buf  [datagramSize]byte
}

// Write sends a message that follows the two bytes of its length.
func (d *Datagrams) Write(framed []byte) error {
	_, err := d.conn.Write(framed[2:])
	return err
}

// Read returns the next message, which is valid until the next call.
func (d *Datagrams) Read() ([]byte, error) {
	n, err := d.conn.Read(d.buf[:])
	return d.buf[:n], err
}

// Stream frames TCP and TLS: RFC 7766, section 8.
type Stream struct {
	conn    net.Conn
	in      *bufio.Reader
	buf     []byte
	timeout time.Duration // for one write, of which the socket's buffer takes many

	mu sync.Mutex // serializes writes
}

// Write sends a message that follows the two bytes of its length. It may be called from any
// goroutine.
func (s *Stream) Write(framed []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	// Length and message in one write: RFC 7766, section 8.
	_, err := s.conn.Write(framed)
	return closedByPeer(err)
}

// Read returns the next message, which is valid until the next call.
func (s *Stream) Read() ([]byte, error) {
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

// NewDatagrams frames what is sent on a datagram socket.
func NewDatagrams(c net.Conn) *Datagrams { return &Datagrams{conn: c} }

// NewStream frames what is sent on a connection. Its buffer takes many writes, so that one
// that takes as long as timeout means that the other end does not read.
func NewStream(c net.Conn, timeout time.Duration) *Stream {
	return &Stream{conn: c, in: bufio.NewReader(c), timeout: timeout}
}

// ErrBroken: the connection ended before the reply came.
var ErrBroken = errors.New("connection closed by the resolver")

// closedByPeer marks the errors after which a new connection may work.
func closedByPeer(err error) error {
	if err == nil || errors.Is(err, net.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}
