// Package markdial opens sockets that carry a route's mark, and queries resolvers
// over them.
package markdial

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// Dialer returns a dialer whose sockets carry the mark before they are connected:
// connect(2) looks up the kernel route by the mark and takes the source address from
// it, so a packet that must enter a tunnel never has the WAN's address. Dialing fails
// where the socket cannot be marked: nothing is ever sent unmarked. A timeout of 0 is
// none.
func Dialer(m gateway.Mark, timeout time.Duration) *net.Dialer { return BoundDialer(m, "", timeout) }

// BoundDialer is Dialer for sockets that are bound to an interface besides: see Prepare.
func BoundDialer(m gateway.Mark, link string, timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, Control: func(network, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			if err = Prepare(int(fd), m, link); err == nil {
				err = receiveErrors(int(fd), network)
			}
		}); e != nil {
			return e
		}
		return err
	}}
}

// ListenConfig makes datagram sockets that carry the mark and are not connected, for QUIC. The
// kernel takes the source address of each packet from the mark's route. They do not report network
// errors, which an attacker who guesses the port could forge.
func ListenConfig(m gateway.Mark) *net.ListenConfig {
	return &net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = Prepare(int(fd), m, "") }); e != nil {
			return e
		}
		return err
	}}
}

// Prepare marks a socket that is not connected yet and, where a link is given, binds it to
// that interface: even without policy rules and nft table nothing leaves by another one.
// Kernels before 5.7 let only CAP_NET_RAW bind; there the mark alone decides.
func Prepare(fd int, m gateway.Mark, link string) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(m.Value)); err != nil {
		return fmt.Errorf("set mark %#x on socket: %w", m.Value, err)
	}
	if link == "" {
		return nil
	}
	if err := unix.BindToDevice(fd, link); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("bind socket to %s: %w", link, err)
	}
	return nil
}

// receiveErrors makes network errors reach a connected UDP socket: without IP_RECVERR the
// kernel hides "host unreachable" (udp(7)), and a query to an unreachable network waits for
// its timeout.
func receiveErrors(fd int, network string) error {
	var err error
	switch network {
	case "udp4":
		err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1)
	case "udp6":
		err = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, 1)
	}
	if err != nil {
		return fmt.Errorf("ask for network errors on socket: %w", err)
	}
	return nil
}
