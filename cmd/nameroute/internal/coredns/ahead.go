package coredns

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"syscall"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"golang.org/x/sys/unix"
)

// ahead opens sockets on addresses that do not exist yet, or that duplicate address
// detection still checks (ip(7), IP_FREEBIND): they answer as soon as the address is there.
// Otherwise a server's options are CoreDNS's.
var ahead = net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
	var errs []error
	set := func(fd uintptr) {
		errs = append(errs, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
		if strings.HasSuffix(network, "6") {
			errs = append(errs, unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1))
		} else {
			errs = append(errs, unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1))
		}
	}
	return errors.Join(c.Control(set), errors.Join(errs...))
}}

// mayListenAhead reports whether a server failed because its address does not exist, and
// only opens a socket to listen: those of QUIC do more, and with *proxyproto* they wrap it.
func mayListenAhead(m caddy.Server, err error) bool {
	if !errors.Is(err, unix.EADDRNOTAVAIL) {
		return false
	}
	switch m.(type) {
	case *dnsserver.Server, *dnsserver.ServerTLS, *dnsserver.ServerHTTPS:
		return isDirect(m)
	}
	return false
}

// isDirect reports whether clients reach a server without PROXY protocol.
func isDirect(m caddy.Server) bool {
	policy := reflect.ValueOf(m).Elem().FieldByName("connPolicy")
	return policy.IsValid() && policy.Kind() == reflect.Func && policy.IsNil()
}

// listenAhead listens at a server's address, dns://192.168.1.1:53.
func listenAhead(address string) (net.Listener, error) {
	return ahead.Listen(context.Background(), "tcp", withoutTransport(address))
}

func listenPacketAhead(address string) (net.PacketConn, error) {
	return ahead.ListenPacket(context.Background(), "udp", withoutTransport(address))
}

func withoutTransport(address string) string {
	_, at, _ := strings.Cut(address, "://")
	return at
}

// sendBuffer is asked for sockets of UDP. Answers to addresses that no host answers for
// stay in the buffer for 3 s, until the kernel gives up; with the default of 208 KiB, 170
// forged queries would keep all others' answers waiting.
const sendBuffer = 16 << 20

// widen enlarges a socket's buffer; where that is not allowed, it stays as it is.
func widen(p net.PacketConn) {
	c, ok := p.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
		})
	}
}
