// Package markdial opens sockets that carry a route's mark, and queries resolvers
// over them.
package markdial

import (
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
func Dialer(m gateway.Mark, timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, Control: func(network, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = prepare(int(fd), network, m) }); e != nil {
			return e
		}
		return err
	}}
}

func prepare(fd int, network string, m gateway.Mark) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(m.Value)); err != nil {
		return fmt.Errorf("set mark %#x on socket: %w", m.Value, err)
	}
	// Without IP_RECVERR the kernel hides "host unreachable" from a connected UDP
	// socket (udp(7)), and a query to an unreachable network waits for its timeout.
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
