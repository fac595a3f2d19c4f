// Package nlsocket is a netlink socket of netfilter that can be taken over from another
// process.
package nlsocket

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// BufferSize is asked for both directions of a socket: the default of 208 KiB
// refuses a batch of some thousand elements (EMSGSIZE) and loses events (ENOBUFS).
const BufferSize = 16 << 20

// Socket is one socket. Not safe for concurrent use.
type Socket struct {
	file *os.File
	raw  syscall.RawConn
	port uint32
}

// Open makes a socket.
func Open() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", os.NewSyscallError("socket", err))
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink socket: %w", os.NewSyscallError("bind", err)), unix.Close(fd))
	}
	return Take(fd)
}

// Take takes over a descriptor of a bound socket, which may have been in use by
// another process.
func Take(fd int) (*Socket, error) {
	file := os.NewFile(uintptr(fd), "netlink")
	s, err := prepare(fd, file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare netlink socket: %w", err), file.Close())
	}
	return s, nil
}

func prepare(fd int, file *os.File) (*Socket, error) {
	err := errors.Join(
		setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, BufferSize),
		setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, BufferSize),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1), // errors do not echo the whole message
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1),
	)
	if err != nil {
		return nil, err
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{file: file, raw: raw}
	if nl, ok := addr.(*unix.SockaddrNetlink); ok {
		s.port = nl.Pid
	}
	return s, s.drain()
}

// setBuffer sets the size of a buffer beyond the system's limit where we may.
func setBuffer(fd, force, ordinary, size int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, ordinary, size)
}

// drain drops what another process did not read.
func (s *Socket) drain() error {
	var buf [64]byte // what is longer is cut
	return s.raw.Control(func(fd uintptr) {
		for {
			if _, _, err := unix.Recvfrom(int(fd), buf[:], unix.MSG_DONTWAIT); err != nil && err != unix.ENOBUFS {
				return
			}
		}
	})
}

// Port returns the address by which events and owned tables name this socket.
func (s *Socket) Port() uint32 { return s.port }

// FD returns the descriptor, which stays the socket's.
func (s *Socket) FD() (fd int) {
	_ = s.raw.Control(func(f uintptr) { fd = int(f) }) // of a closed one: 0
	return fd
}

// SetReadDeadline bounds Receive.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

// Close closes the socket.
func (s *Socket) Close() error { return s.file.Close() }

// Send sends messages to the kernel.
func (s *Socket) Send(buf []byte) error {
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
		failed = unix.Sendto(int(fd), buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return failed != unix.EAGAIN
	})
	return errors.Join(err, failed)
}

// Receive reads one datagram.
func (s *Socket) Receive(buf []byte) (n int, err error) {
	var failed error
	err = s.raw.Read(func(fd uintptr) bool {
		n, _, failed = unix.Recvfrom(int(fd), buf, 0)
		return failed != unix.EAGAIN && failed != unix.EINTR
	})
	return n, errors.Join(err, failed)
}
