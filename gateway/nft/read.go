package nft

import (
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The table flags of linux/netfilter/nf_tables.h, and the attribute that names the
// owner's port, which golang.org/x/sys/unix does not have.
const (
	flagDormant  = 1 // NFT_TABLE_F_DORMANT
	flagOwner    = 2 // NFT_TABLE_F_OWNER, Linux 5.12
	flagPersist  = 4 // NFT_TABLE_F_PERSIST, Linux 6.9
	attrOwner    = 7 // NFTA_TABLE_OWNER
	readAttempts = 5 // of a dump that others' commits interrupt
)

// ErrNoSet says that a set, or its table, is not there.
var ErrNoSet = errors.New("no such set")

// reader reads the ruleset over a socket of its own: every process may read an owned
// table, and a long dump must not hold up the socket that learns.
type reader struct{ *socket }

func openReader() (*reader, error) {
	s, err := openSocket()
	if err != nil {
		return nil, err
	}
	return &reader{s}, nil
}

// close releases the socket; nothing was written to it that could be lost.
func (r *reader) close() { _ = r.socket.Close() }

// message is a reply: its flags, and what follows nlmsghdr.
type message struct {
	flags uint16
	data  []byte
}

// get asks for one object or, with NLM_F_DUMP, for all of a kind. A dump that
// commits of other sockets interrupt is repeated.
func (r *reader) get(typ, flags uint16, family byte, write func(*batch)) ([]message, error) {
	var b batch
	b.message(typ, flags, family, op{}, func(b *batch) {
		if write != nil {
			write(b)
		}
	})
	for attempt := 1; ; attempt++ {
		var msgs []message
		err := r.ask(&b, func(m message) error {
			msgs = append(msgs, message{m.flags, slices.Clone(m.data)})
			return nil
		})
		interrupted := slices.ContainsFunc(msgs, func(m message) bool { return m.flags&unix.NLM_F_DUMP_INTR != 0 })
		if (!interrupted && !errors.Is(err, unix.EINTR)) || attempt == readAttempts {
			return msgs, err
		}
	}
}

// ask sends one request and shows its replies, which are gone afterwards. An error of show
// ends it. The kernel hands out a dump in parts of some 600 elements, whatever buffer is
// offered; each part begins with a walk to where the last one ended, so that the time grows
// with the square of a set's size.
func (r *reader) ask(b *batch, show func(message) error) error {
	r.seq++
	b.number(r.seq)
	if err := r.Send(b.buf); err != nil {
		return err
	}
	for {
		msgs, err := r.receive()
		if err != nil {
			return err
		}
		for m, seq := range msgs {
			if seq != r.seq {
				continue // of a dump that was given up
			}
			if m.typ == unix.NLMSG_ERROR || m.typ == unix.NLMSG_DONE {
				if errno := m.errno(); errno != 0 {
					return errno
				}
				if m.flags&unix.NLM_F_DUMP_INTR != 0 {
					return unix.EINTR
				}
				return nil
			}
			if err := show(m.message); err != nil {
				return err
			}
			if m.flags&unix.NLM_F_MULTI == 0 {
				return nil
			}
		}
	}
}

type reply struct {
	message
	typ uint16
}

// errno is what an error message, or the end of a dump, says; 0 is success.
func (m reply) errno() unix.Errno {
	if len(m.data) >= 4 {
		return unix.Errno(-int32(binary.NativeEndian.Uint32(m.data)))
	}
	return 0
}

// receive reads one datagram and yields its messages with their sequence numbers.
func (r *reader) receive() (iter.Seq2[reply, uint32], error) {
	if err := r.SetReadDeadline(time.Now().Add(replyTimeout)); err != nil {
		return nil, err
	}
	n, err := r.Receive(r.in)
	return func(yield func(reply, uint32) bool) {
		for in := r.in[:n]; len(in) >= unix.SizeofNlMsghdr; {
			size := int(binary.NativeEndian.Uint32(in))
			if size < unix.SizeofNlMsghdr || size > len(in) {
				return // the kernel sends none
			}
			m := reply{message{binary.NativeEndian.Uint16(in[6:]), in[unix.SizeofNlMsghdr:size]}, binary.NativeEndian.Uint16(in[4:])}
			seq := binary.NativeEndian.Uint32(in[8:])
			in = in[min(align(size), len(in)):]
			if !yield(m, seq) {
				return
			}
		}
	}, err
}
