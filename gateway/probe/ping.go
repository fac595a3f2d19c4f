package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway/pkg/markdial"
)

// Types of ICMP messages (RFC 792, RFC 4443).
const (
	echo4, echoReply4 = 8, 0
	echo6, echoReply6 = 128, 129
)

const (
	headerSize = 8  // of an echo: type, code, checksum, identifier, sequence number
	tokenSize  = 16 // of what an answer must repeat
	maxAnswer  = 2048
)

// ping sends one echo request and waits for its reply.
func ping(ctx context.Context, r Route, to netip.Addr) error {
	to = to.Unmap()
	s, err := openPing(r, to)
	if err != nil {
		return err
	}
	defer s.file.Close()
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(maxTimeout)
	}
	if err := s.file.SetDeadline(end); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { s.file.SetDeadline(time.Now()) })()
	request := s.request()
	if _, err := s.file.Write(request); err != nil {
		return err
	}
	answer := make([]byte, maxAnswer)
	for {
		n, err := s.file.Read(answer)
		if err != nil {
			return err
		}
		if s.answers(answer[:n], request) {
			return nil
		}
	}
}

// socket is one for a single echo request, connected to the host that is asked.
type socket struct {
	file *os.File
	six  bool
	raw  bool // the kernel neither sets the identifier nor selects the replies by it
}

// openPing opens a ping socket or, where the kernel lets this process have none, a raw one.
func openPing(r Route, to netip.Addr) (socket, error) {
	s := socket{six: to.Is6()}
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if s.six {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|flags, protocol)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPROTONOSUPPORT) {
		s.raw = true
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, protocol)
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return s, unknown("this process may not ping: sysctl net.ipv4.ping_group_range leaves its group out")
	case errors.Is(err, unix.EAFNOSUPPORT):
		return s, unknown("the kernel has no IPv6")
	case err != nil:
		return s, fmt.Errorf("open socket: %w", err)
	}
	if err = s.connect(fd, r, to); err != nil {
		unix.Close(fd)
		return s, err
	}
	s.file = os.NewFile(uintptr(fd), "ping")
	return s, nil
}

func (s socket) connect(fd int, r Route, to netip.Addr) error {
	if err := markdial.Prepare(fd, r.Mark, r.Link); err != nil {
		return err
	}
	level, option := unix.SOL_IP, unix.IP_RECVERR // for a router's refusal to be an answer
	if s.six {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return err
	}
	if !s.six {
		return unix.Connect(fd, &unix.SockaddrInet4{Addr: to.As4()})
	}
	address := &unix.SockaddrInet6{Addr: to.As16()}
	if zone := to.Zone(); zone != "" {
		i, err := net.InterfaceByName(zone)
		if err != nil {
			return err
		}
		address.ZoneId = uint32(i.Index)
	}
	return unix.Connect(fd, address)
}

// request returns an echo request with an identifier and a token that cannot be guessed.
func (s socket) request() []byte {
	m := make([]byte, headerSize+tokenSize)
	rand.Read(m[4:]) // never fails
	m[0] = echo4
	if s.six {
		m[0] = echo6 // its checksum is the kernel's to set (RFC 3542 section 3.1)
		return m
	}
	binary.BigEndian.PutUint16(m[2:], checksum(m))
	return m
}

// answers reports whether a message is the reply to a request. The identifier of a ping
// socket is the kernel's.
func (s socket) answers(m, request []byte) bool {
	reply := byte(echoReply4)
	if s.six {
		reply = echoReply6
	}
	if s.raw && !s.six { // with its IP header
		if len(m) == 0 || len(m) < int(m[0]&0xf)*4 {
			return false
		}
		m = m[int(m[0]&0xf)*4:]
	}
	if len(m) != len(request) || m[0] != reply || m[1] != 0 {
		return false
	}
	from := 6 // the sequence number
	if s.raw {
		from = 4
	}
	return string(m[from:]) == string(request[from:])
}

// checksum is that of the Internet (RFC 1071), of a message of even length.
func checksum(m []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(m); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(m[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
