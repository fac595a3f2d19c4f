//go:build linux

package netlab

import (
	"context"
	"io"
	"net"
	"time"
)

// dialLimit is what Dial waits for an answer: long for a lab, short for a person.
const dialLimit = 10 * time.Second

// A socket belongs for good to the namespace of the thread that made it, so what
// these helpers return can be used from any goroutine. Addresses are literal: a
// name would be looked up outside the namespace.

// Dial connects from inside the namespace and gives up after 10 s.
func (n *Namespace) Dial(network, address string) (net.Conn, error) {
	return n.DialWith(net.Dialer{Timeout: dialLimit}, network, address)
}

// DialWith is Dial with a dialer of one's own (local address, timeout, Control).
func (n *Namespace) DialWith(d net.Dialer, network, address string) (conn net.Conn, err error) {
	d.SetMultipathTCP(false)
	n.Do(func() { conn, err = d.Dial(network, address) })
	return conn, err
}

// Listen listens for stream connections inside the namespace.
func (n *Namespace) Listen(network, address string) (l net.Listener, err error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	n.on(func() { l, err = lc.Listen(context.Background(), network, address) })
	return l, err
}

// ListenPacket opens a datagram socket inside the namespace.
func (n *Namespace) ListenPacket(network, address string) (c net.PacketConn, err error) {
	var lc net.ListenConfig
	n.on(func() { c, err = lc.ListenPacket(context.Background(), network, address) })
	return c, err
}

// closeQuietly closes what is no longer used, at the end of a test or of an exchange.
func closeQuietly(c io.Closer) { _ = c.Close() }
