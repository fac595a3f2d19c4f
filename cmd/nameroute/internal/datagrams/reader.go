package datagrams

import (
	"encoding/binary"
	"errors"
	"net"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/plugin/pkg/replay"
)

const (
	batch     = 64  // datagrams that are read and written at once
	querySize = 512 // that CoreDNS's server reads of a query
	ctrlSize  = 64  // more than a control message with an address and an interface has
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [unsafe.Sizeof(uintptr(0)) - 4]byte
}

// reader is one goroutine with buffers for a batch, which are made once.
type reader struct {
	front   *Front
	replay  replay.Reader
	in, out [batch]mmsghdr
	inVec   [batch]unix.Iovec
	outVec  [batch]unix.Iovec
	names   [batch]unix.RawSockaddrAny
	ctrl    [batch][ctrlSize]byte
	queries [batch][querySize]byte
	answers [batch][replay.MaxSize]byte

	read, sent int // of the system call that was made last
	first, due int // of out: what is to be sent
	errno      syscall.Errno
	recv       func(fd uintptr) bool // made once: they allocate
	send       func(fd uintptr)
}

func newReader(f *Front) *reader {
	r := &reader{front: f}
	for i := range batch {
		r.inVec[i].Base = &r.queries[i][0]
		r.inVec[i].SetLen(querySize)
		r.in[i].hdr.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		r.in[i].hdr.Iov = &r.inVec[i]
		r.in[i].hdr.SetIovlen(1)
		r.out[i].hdr.Iov = &r.outVec[i]
		r.out[i].hdr.SetIovlen(1)
	}
	r.recv = func(fd uintptr) bool {
		n, errno := call(unix.SYS_RECVMMSG, fd, &r.in[0], batch)
		r.read, r.errno = n, errno
		return errno != unix.EAGAIN
	}
	r.send = func(fd uintptr) {
		r.sent, r.errno = call(unix.SYS_SENDMMSG, fd, &r.out[r.first], r.due-r.first)
		if r.errno == unix.EAGAIN {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(sendPatience.Milliseconds()))
			r.sent, r.errno = call(unix.SYS_SENDMMSG, fd, &r.out[r.first], r.due-r.first)
		}
	}
	return r
}

// sendPatience is how long answers wait for room in the socket's buffer. It is short, because
// the next queries wait meanwhile; others are lost, as answers over UDP may be.
const sendPatience = 2 * time.Millisecond

func call(nr, fd uintptr, first *mmsghdr, n int) (int, syscall.Errno) {
	for {
		done, _, errno := syscall.Syscall6(nr, fd, uintptr(unsafe.Pointer(first)), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(done), errno
		}
	}
}

// run reads until the socket is closed.
func (r *reader) run() error {
	for {
		for i := range r.in {
			h := &r.in[i].hdr
			h.Namelen = uint32(unsafe.Sizeof(r.names[i]))
			h.Control, h.Flags = nil, 0
			h.SetControllen(0)
			if r.front.anywhere {
				h.Control = &r.ctrl[i][0]
				h.SetControllen(ctrlSize)
			}
		}
		if err := r.front.raw.Read(r.recv); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		if r.errno != 0 { // of an earlier answer, that nobody listens there
			continue
		}
		r.serve()
	}
}

// serve answers the queries of one batch, or has them answered.
func (r *reader) serve() {
	server := r.front.current.Load()
	b := server.memory.Begin()
	r.first, r.due = 0, 0
	for i := range r.read {
		m := &r.in[i]
		query := r.queries[i][:min(int(m.n), querySize)]
		control := r.source(i)
		n := r.replay.Replay(b, query, r.answers[r.due][:], r.isV6(i))
		if n == 0 {
			p := r.replay.Ask(b, query, r.addr(i), control)
			if !server.queue.push(p) {
				r.front.ask(p)
			}
			continue
		}
		out := &r.out[r.due].hdr
		r.outVec[r.due].Base = &r.answers[r.due][0]
		r.outVec[r.due].SetLen(n)
		out.Name, out.Namelen = m.hdr.Name, m.hdr.Namelen
		out.Control = nil
		out.SetControllen(0)
		if len(control) > 0 {
			out.Control = &control[0]
			out.SetControllen(len(control))
		}
		r.due++
	}
	for r.first < r.due {
		if err := r.front.raw.Control(r.send); err != nil || r.errno == unix.EAGAIN {
			return
		}
		if r.errno != 0 {
			r.sent = 1 // this one cannot be sent: its client is unreachable, say
		}
		r.first += max(1, r.sent)
	}
}

// source turns the control message of a query into that of its answer: the address is the
// same, and the interface is left to the routing.
func (r *reader) source(i int) []byte {
	h := &r.in[i].hdr
	n := int(h.Controllen)
	if h.Control == nil || n < unix.SizeofCmsghdr {
		return nil
	}
	b := r.ctrl[i][:n]
	c := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	data := b[unix.CmsgLen(0):]
	switch {
	case c.Level == unix.IPPROTO_IPV6 && c.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		(*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0])).Ifindex = 0
		return b[:unix.CmsgSpace(unix.SizeofInet6Pktinfo)]
	case c.Level == unix.IPPROTO_IP && c.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
		info.Ifindex, info.Spec_dst = 0, info.Addr
		return b[:unix.CmsgSpace(unix.SizeofInet4Pktinfo)]
	}
	return nil
}

// isV6 reports whether a client has an IPv6 address, as CoreDNS counts it.
func (r *reader) isV6(i int) bool {
	if r.names[i].Addr.Family != unix.AF_INET6 {
		return false
	}
	a := (*unix.RawSockaddrInet6)(unsafe.Pointer(&r.names[i]))
	return [12]byte(a.Addr[:12]) != [12]byte{10: 0xff, 11: 0xff}
}

// addr returns a client's address as package net does.
func (r *reader) addr(i int) (a net.UDPAddr) {
	port := func(p *uint16) int { return int(binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:])) }
	if r.names[i].Addr.Family != unix.AF_INET6 {
		from := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.names[i]))
		return net.UDPAddr{IP: net.IP(append([]byte(nil), from.Addr[:]...)), Port: port(&from.Port)}
	}
	from := (*unix.RawSockaddrInet6)(unsafe.Pointer(&r.names[i]))
	a = net.UDPAddr{IP: net.IP(append([]byte(nil), from.Addr[:]...)), Port: port(&from.Port)}
	if from.Scope_id != 0 {
		a.Zone = zone(int(from.Scope_id))
	}
	return a
}

// zone returns the name of an interface, or its number where it is gone.
func zone(index int) string {
	if i, err := net.InterfaceByIndex(index); err == nil {
		return i.Name
	}
	return strconv.Itoa(index)
}
