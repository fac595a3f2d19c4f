// Package hold keeps the netlink socket that owns our nft table open in a second process,
// because the kernel lets every program flush a table whose owner is gone. The holder does
// nothing but that: what it keeps it gives to the next process, which goes on writing as
// the owner.
//
// The two meet at an abstract Unix socket, which belongs to the network namespace, as the
// nft table does: it cannot be unlinked, and no other namespace's holder is found there.
package hold

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// address is where the holder listens; Go writes the first byte of an abstract one as @.
const address = "@nameroute/hold"

// The requests, one byte each. store carries the socket; the reply to fetch does, where
// one is held.
const (
	store = 's'
	fetch = 'f'
	end   = 'e'
	watch = 'w' // is answered when the holder ends, by the end of the connection
)

const (
	maxConns = 16               // connections at a time; further ones are closed
	patience = 10 * time.Second // for a request that was begun
	// idleLimit is for how long a holder without a socket, and without a process that
	// might store one, waits.
	idleLimit = time.Minute
)

// Serve keeps what is stored until ctx ends, a process asks for the end, or nothing has been
// stored for a while. Processes of root, of our own user and of the owner of dir, nameroute's
// directory of sockets, are served. listening is called when clients can connect.
func Serve(ctx context.Context, dir string, listening func()) error {
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: address, Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	s := &server{l: l, dir: dir, fd: -1, conns: map[*net.UnixConn]bool{}}
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	s.idle = time.AfterFunc(idleLimit, s.endIdle)
	listening()
	for {
		c, err := l.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			s.shutdown()
			return nil
		case err != nil:
			time.Sleep(100 * time.Millisecond) // no memory or files now; what is held stays
		default:
			s.accept(c)
		}
	}
}

type server struct {
	l    *net.UnixListener
	dir  string
	idle *time.Timer

	mu    sync.Mutex
	fd    int // that is held; -1: none
	conns map[*net.UnixConn]bool
}

func (s *server) close() { _ = s.l.Close() } // which is what ends Serve

// shutdown lets go of what is held, and ends the connections, which tells the clients.
func (s *server) shutdown() {
	s.keep(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// store keeps what a client gave, unless the client is gone: it has given up waiting while
// this process was stopped, and a newer one may be held since.
func (s *server) store(c *net.UnixConn, fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := send(c, store, -1); err != nil {
		_ = unix.Close(fd)
		return
	}
	s.replace(fd)
}

// keep replaces what is held.
func (s *server) keep(fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(fd)
}

// replace is keep for those that have the lock.
func (s *server) replace(fd int) {
	if s.fd >= 0 {
		_ = unix.Close(s.fd) // nothing can be done about an error
	}
	s.fd = fd
}

func (s *server) endIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 && len(s.conns) == 0 {
		s.close()
	}
}

func (s *server) accept(c *net.UnixConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= maxConns {
		_ = c.Close()
		return
	}
	s.conns[c] = true
	go func() {
		s.serve(c)
		_ = c.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		s.idle.Reset(idleLimit)
	}()
}

// serve answers one request of a process that is trusted.
func (s *server) serve(c *net.UnixConn) {
	who, err := peer(c)
	if err != nil || !trusted(who, s.dir) {
		return
	}
	_ = c.SetDeadline(time.Now().Add(patience)) // fails only where reading fails, too
	request, fd, err := receive(c)
	if err != nil {
		return
	}
	switch request {
	case store:
		if fd >= 0 {
			s.store(c, fd)
		}
		return
	case fetch:
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = send(c, fetch, s.fd)
	case end:
		s.keep(-1)
		_ = send(c, end, -1)
		s.close()
	case watch:
		_ = c.SetDeadline(time.Time{})
		_, _, _ = c.ReadFrom(make([]byte, 1)) // until the client is gone
	}
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}
