package nft

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/nlsocket"
	"golang.org/x/sys/unix"
)

// replyTimeout bounds the wait for an acknowledgement. The kernel has done its work
// when sendmsg returns, so only a lost reply ever takes this long.
const replyTimeout = 2 * time.Second

// socket is the netlink socket that writes, or one that reads. An owned nft table belongs to
// the one that made it. Not safe for concurrent use.
type socket struct {
	*nlsocket.Socket
	seq uint32
	in  []byte
}

func openSocket() (*socket, error) { return newSocket(nlsocket.Open()) }

// newSocket begins with any number: an earlier process may have used the socket.
func newSocket(s *nlsocket.Socket, err error) (*socket, error) {
	return &socket{s, rand.Uint32() >> 1, make([]byte, 64<<10)}, err
}

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
	if err := s.Send(b.buf); err != nil {
		return fmt.Errorf("%w: send: %w", ErrBroken, err)
	}
	if err := s.SetReadDeadline(time.Now().Add(replyTimeout)); err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return s.replies(b, first)
}

// replies reads until the last message's acknowledgement is in. Replies to older
// batches are skipped by their numbers.
func (s *socket) replies(b *batch, first uint32) error {
	var refused error
	for {
		n, err := s.Receive(s.in)
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
