package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// bufferSize is asked for both directions of a socket: the default of 208 KiB
// refuses a batch of some thousand elements (EMSGSIZE) and loses events (ENOBUFS).
const bufferSize = 16 << 20

// replyTimeout bounds the wait for an acknowledgement. The kernel has done its work
// when sendmsg returns, so only a lost reply ever takes this long.
const replyTimeout = 2 * time.Second

// socket is one netlink socket that writes. An owned nft table belongs to it, so
// all writes go through it. Not safe for concurrent use.
type socket struct {
	conn *netlink.Conn
	raw  syscall.RawConn
	seq  uint32
	in   []byte
}

func openSocket() (*socket, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	s, err := prepareSocket(conn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare netlink socket: %w", err), conn.Close())
	}
	return s, nil
}

func prepareSocket(conn *netlink.Conn) (*socket, error) {
	err := errors.Join(
		conn.SetReadBuffer(bufferSize),
		conn.SetWriteBuffer(bufferSize),
		conn.SetOption(netlink.CapAcknowledge, true), // errors do not echo the whole message
		conn.SetOption(netlink.ExtendedAcknowledge, true),
	)
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &socket{conn: conn, raw: raw, in: make([]byte, 64<<10)}, nil
}

// port is the address by which events and owned tables name this socket.
func (s *socket) port() uint32 { return s.conn.PID() }

func (s *socket) close() error { return s.conn.Close() }

// transact sends a batch and waits until the kernel has committed it. A refusal
// means that nothing of it took effect and the socket is fine; ErrBroken that
// the socket must be reopened.
func (s *socket) transact(b *batch) error {
	if b.empty() {
		return nil
	}
	b.finish()
	first := s.seq + 1
	b.number(first)
	s.seq += uint32(len(b.ops)) + 2
	if err := s.send(b.buf); err != nil {
		return fmt.Errorf("%w: send: %w", ErrBroken, err)
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(replyTimeout)); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return s.replies(b, first)
}

// replies reads until the last message's acknowledgement is in. Replies to older
// batches are skipped by their numbers.
func (s *socket) replies(b *batch, first uint32) error {
	var refused error
	for {
		n, err := s.receive()
		if err != nil {
			return fmt.Errorf("%w: receive: %w", ErrBroken, err)
		}
		for in := s.in[:n]; len(in) >= unix.SizeofNlMsghdr+4; {
			size := int(binary.NativeEndian.Uint32(in))
			if size < unix.SizeofNlMsghdr+4 || size > len(in) {
				return fmt.Errorf("%w: message of %d bytes in %d", ErrBroken, size, len(in))
			}
			typ, seq := binary.NativeEndian.Uint16(in[4:]), binary.NativeEndian.Uint32(in[8:])
			index := int64(seq) - int64(first) // 0 is BATCH_BEGIN, for which the whole batch is refused
			if typ == unix.NLMSG_ERROR && index >= 0 && index <= int64(len(b.ops)) {
				if errno := -int32(binary.NativeEndian.Uint32(in[16:])); errno != 0 {
					r := &Refusal{op: op{verb: "commit", name: "transaction"}, Errno: unix.Errno(errno), text: extack(in[:size])}
					if index == 0 {
						return r
					}
					if r.op = b.ops[index-1]; refused == nil {
						r.Set = r.op.set
						refused = r
					}
				}
				if index == int64(len(b.ops)) {
					return refused
				}
			}
			in = in[min(align(size), len(in)):]
		}
	}
}

func (s *socket) send(buf []byte) error {
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
		failed = unix.Sendto(int(fd), buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return failed != unix.EAGAIN
	})
	return errors.Join(err, failed)
}

func (s *socket) receive() (n int, err error) {
	var failed error
	err = s.raw.Read(func(fd uintptr) bool {
		n, _, failed = unix.Recvfrom(int(fd), s.in, 0)
		return failed != unix.EAGAIN && failed != unix.EINTR
	})
	return n, errors.Join(err, failed)
}

// extack is the kernel's own text in an error message (NLMSGERR_ATTR_MSG).
func extack(msg []byte) string {
	const header = unix.SizeofNlMsghdr + 4 + unix.SizeofNlMsghdr
	flags := binary.NativeEndian.Uint16(msg[6:])
	if flags&unix.NLM_F_ACK_TLVS == 0 || len(msg) < header {
		return ""
	}
	for _, a := range attrs(msg[header:]) {
		if a.typ == unix.NLMSGERR_ATTR_MSG {
			return cString(a.data)
		}
	}
	return ""
}
