// Package datagrams reads the queries of a UDP listener in batches, answers from memory what
// package replay can, and hands the rest on to CoreDNS's server as a net.PacketConn.
package datagrams

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/plugin/pkg/replay"
)

// maxReaders bounds the goroutines that read one socket. There is one for two cores: where
// clients' queries wait for a reader, more of them are read at once.
const maxReaders = 4

// Front has the socket of a listener, over all reloads.
type Front struct {
	conn     *net.UDPConn
	raw      syscall.RawConn
	anywhere bool // it listens on all addresses, so that an answer must say from which it comes
	wide     bool // its addresses are IPv6 ones
	current  atomic.Pointer[Server]
	readers  sync.WaitGroup
}

// New returns the front of a socket, which is closed with it.
func New(conn *net.UDPConn) (*Front, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	f := &Front{conn: conn, raw: raw}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	f.anywhere = local.IsUnspecified()
	var family int
	var errs []error
	errs = append(errs, raw.Control(func(fd uintptr) {
		var err error
		family, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		f.wide = family == unix.AF_INET6
		errs = append(errs, err)
		switch {
		case !f.anywhere:
		case f.wide:
			errs = append(errs, unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
		default:
			errs = append(errs, unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
		}
	}))
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("listener %s: %w", conn.LocalAddr(), err)
	}
	return f, nil
}

// Attach has a server get the queries from now on that are not answered from memory, which is
// the server's own: it holds only what this server has answered.
func (f *Front) Attach() *Server {
	s := &Server{front: f, memory: replay.New(), queue: newQueue()}
	f.current.Store(s)
	return s
}

// Serve reads queries until Close. It is called once, after the first Attach.
func (f *Front) Serve() error {
	errs := make([]error, min(maxReaders, max(1, runtime.GOMAXPROCS(0)/2)))
	for i := range errs {
		f.readers.Go(func() { errs[i] = newReader(f).run() })
	}
	f.readers.Wait()
	return errors.Join(errs...)
}

// Close closes the socket.
func (f *Front) Close() { f.conn.Close() }

// ask has the current server asked.
func (f *Front) ask(p *replay.Packet) {
	for !f.current.Load().queue.push(p) {
		if f.current.Load().queue.ended() {
			return // it is the last one
		}
	}
}

// send sends one answer of a server.
func (f *Front) send(p *replay.Packet, b []byte) (int, error) {
	to := p.Addr().(*net.UDPAddr)
	n, _, err := f.conn.WriteMsgUDPAddrPort(b, p.Source, f.sockaddr(to))
	return n, err
}

func (f *Front) sockaddr(a *net.UDPAddr) netip.AddrPort {
	ap := a.AddrPort()
	if f.wide {
		return ap
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
