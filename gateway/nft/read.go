package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
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
		msgs, err := r.ask(&b)
		interrupted := slices.ContainsFunc(msgs, func(m message) bool { return m.flags&unix.NLM_F_DUMP_INTR != 0 })
		if (!interrupted && !errors.Is(err, unix.EINTR)) || attempt == readAttempts {
			return msgs, err
		}
	}
}

// ask sends one request and reads its replies. The buffer that is offered decides how
// much of a dump the kernel hands out at once; each part begins with a walk to where
// the last one ended, so that small ones take time that grows with the square.
func (r *reader) ask(b *batch) ([]message, error) {
	r.seq++
	b.number(r.seq)
	if err := r.Send(b.buf); err != nil {
		return nil, err
	}
	var out []message
	for {
		if err := r.SetReadDeadline(time.Now().Add(replyTimeout)); err != nil {
			return nil, err
		}
		n, err := r.Receive(r.in)
		if err != nil {
			return nil, err
		}
		for in := slices.Clone(r.in[:n]); len(in) >= unix.SizeofNlMsghdr; {
			size := int(binary.NativeEndian.Uint32(in))
			if size < unix.SizeofNlMsghdr || size > len(in) {
				return nil, fmt.Errorf("message of %d bytes in %d", size, len(in))
			}
			typ, flags, seq := binary.NativeEndian.Uint16(in[4:]), binary.NativeEndian.Uint16(in[6:]), binary.NativeEndian.Uint32(in[8:])
			data := in[unix.SizeofNlMsghdr:size]
			in = in[min(align(size), len(in)):]
			if seq != r.seq {
				continue // of a dump that was given up
			}
			if typ == unix.NLMSG_ERROR || typ == unix.NLMSG_DONE {
				if len(data) >= 4 && binary.NativeEndian.Uint32(data) != 0 {
					return nil, unix.Errno(-int32(binary.NativeEndian.Uint32(data)))
				}
				if flags&unix.NLM_F_DUMP_INTR != 0 {
					return nil, unix.EINTR
				}
				return out, nil
			}
			out = append(out, message{flags, data})
			if flags&unix.NLM_F_MULTI == 0 {
				return out, nil
			}
		}
	}
}
