package upstream

import (
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// markedDialer opens sockets that carry a route's mark from the moment they exist.
// Control runs between socket(2) and connect(2): connect looks up the kernel route by
// the mark and takes the source address from it, so a query via a tunnel never carries
// the WAN's address. Without the privilege to mark a socket there is no socket: nothing
// is ever sent unmarked.
func markedDialer(m gateway.Mark) *net.Dialer {
	return &net.Dialer{
		KeepAlive: -1, // idle connections are closed long before a keepalive would be due
		Control: func(network, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) { err = setMark(int(fd), network, m) }); e != nil {
				return e
			}
			return err
		},
	}
}

func setMark(fd int, network string, m gateway.Mark) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(m.Value)); err != nil {
		return fmt.Errorf("set mark %#x on socket: %w", m.Value, err)
	}
	// Without IP_RECVERR the kernel keeps "host unreachable" from a connected UDP
	// socket (udp(7)), and a query to a dead network waits for its timeout.
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
