package datagrams

import (
	"net"
	"os"
	"sync"
	"time"

	"github.com/nameroute/nameroute/plugin/pkg/replay"
)

// Server is the net.PacketConn that a CoreDNS server reads its queries from.
type Server struct {
	front  *Front
	memory *replay.Memory
	queue  *queue
}

// ReadFrom implements net.PacketConn.
func (s *Server) ReadFrom(b []byte) (int, net.Addr, error) {
	p, err := s.queue.pop()
	if err != nil {
		return 0, nil, err
	}
	return copy(b, p.Query), p.Addr(), nil
}

// WriteTo implements net.PacketConn for addresses that ReadFrom returned.
func (s *Server) WriteTo(b []byte, to net.Addr) (int, error) {
	p := replay.PacketOf(to)
	p.Sent(b)
	return s.front.send(p, b)
}

// LocalAddr implements net.PacketConn.
func (s *Server) LocalAddr() net.Addr { return s.front.conn.LocalAddr() }

// SetReadDeadline ends reading where the deadline is over; others are not kept, since a
// server without queries has nothing to do at it.
func (s *Server) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		s.queue.stop(os.ErrDeadlineExceeded)
	}
	return nil
}

// SetDeadline implements net.PacketConn.
func (s *Server) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (s *Server) SetWriteDeadline(time.Time) error { return nil }

// Close ends reading. The socket is the front's.
func (s *Server) Close() error {
	s.queue.stop(net.ErrClosed)
	return nil
}

// HandOn hands queries that the server was too late to read on to the next one. It is called
// when the server has ended.
func (s *Server) HandOn() {
	for _, p := range s.queue.end() {
		if s.front.current.Load() != s {
			s.front.ask(p)
		}
	}
}

// maxWaiting bounds the queries that a server has not read. It reads without waiting for its
// answers, so that only a machine that is far too busy has them.
const maxWaiting = 4096

// queue holds the queries that a server is to read.
type queue struct {
	mu      sync.Mutex
	filled  sync.Cond
	waiting []*replay.Packet
	stopped error // why nothing is read any more; nil: it is
	over    bool  // nothing is taken any more
}

func newQueue() *queue {
	q := &queue{}
	q.filled.L = &q.mu
	return q
}

// push adds a query. It returns false where none is taken any more; one too many is dropped, as
// by a socket whose buffer is full.
func (q *queue) push(p *replay.Packet) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return false
	}
	if len(q.waiting) < maxWaiting {
		q.waiting = append(q.waiting, p)
		q.filled.Signal()
	}
	return true
}

// pop returns the next query, or why reading is stopped.
func (q *queue) pop() (*replay.Packet, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && q.stopped == nil {
		q.filled.Wait()
	}
	if q.stopped != nil {
		return nil, q.stopped
	}
	p := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	return p, nil
}

func (q *queue) stop(reason error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = reason
	q.filled.Broadcast()
}

// end takes no more queries, and returns those that were not read.
func (q *queue) end() []*replay.Packet {
	q.mu.Lock()
	defer q.mu.Unlock()
	rest := q.waiting
	q.waiting, q.stopped, q.over = nil, net.ErrClosed, true
	q.filled.Broadcast()
	return rest
}

func (q *queue) ended() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.over
}
