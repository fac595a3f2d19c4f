package upstream

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/framing"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// messages are those of a datagram socket or a stream: see framing.
type messages interface {
	Write(framed []byte) error
	Read() ([]byte, error)
}

// socket is one connected, marked socket with many queries in flight. Replies are
// told apart by their ids; the kernel drops what comes from another address.
//
// A query first reserves a place and then uses it in send. A retired socket gives
// no more places, and closes when the last one is released.
type socket struct {
	conn       net.Conn
	local      netip.Addr // the source address
	messages   messages
	datagram   bool
	expire     time.Duration             // idle for this long, it is closed
	exclusive  bool                      // opened for one query, not yet in the pool
	onMismatch func(wire.Verdict)        // called for every message that answers no query in flight
	hungUp     func(served, waiting int) // called when the resolver closed a stream

	mu       sync.Mutex
	pending  map[uint16]*flight
	wrong    int  // messages that answered no query in flight
	flooded  bool // with those
	places   int  // reserved, with or without a query in flight
	uses     int  // places given so far
	served   int  // replies delivered
	born     time.Time
	used     time.Time
	retired  bool
	err      error // why it is closed
	idle     *time.Timer
	lastRead time.Time
}

func newSocket(conn net.Conn, m messages, datagram bool, expire time.Duration) *socket {
	now := time.Now()
	var local netip.Addr
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		local = a.AddrPort().Addr()
	}
	return &socket{
		conn: conn, local: local, messages: m, datagram: datagram, expire: expire,
		pending: make(map[uint16]*flight), born: now, used: now,
	}
}

// start starts the goroutine that reads, which ends when the socket is closed.
func (s *socket) start() {
	s.mu.Lock()
	if !s.retired { // it closes after its one query
		s.idle = time.AfterFunc(s.expire, s.closeIdle)
	}
	s.mu.Unlock()
	go func() {
		for {
			msg, err := s.messages.Read()
			if err != nil {
				s.fail(err)
				return
			}
			s.deliver(msg)
		}
	}()
}

// reserve reserves a place for one query; false means that the socket takes no more.
func (s *socket) reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired || s.err != nil {
		return false
	}
	s.places++
	s.uses++
	return true
}

// release gives the place back.
func (s *socket) release() {
	s.mu.Lock()
	s.places--
	s.used = time.Now()
	last := s.retired && s.places == 0
	s.mu.Unlock()
	if last {
		s.fail(net.ErrClosed)
	}
}

// retire lets the queries in flight finish and takes no more.
func (s *socket) retire() {
	s.mu.Lock()
	s.retired = true
	last := s.places == 0
	s.mu.Unlock()
	if last {
		s.fail(net.ErrClosed)
	}
}

// load is how many places are taken.
func (s *socket) load() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places
}

// fail closes the socket and ends all queries in flight on it with err.
func (s *socket) fail(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err, s.retired = err, true
	waiting := len(s.pending)
	for id, f := range s.pending {
		delete(s.pending, id)
		f.mail.post(event{flight: f, err: err})
	}
	served := s.served
	if s.idle != nil {
		s.idle.Stop()
	}
	s.mu.Unlock()
	s.conn.Close() // no data is pending, so its error means nothing
	if errors.Is(err, framing.ErrBroken) {
		s.hungUp(served, waiting)
	}
}

// closeIdle closes a socket that was idle for expire, or checks again later.
func (s *socket) closeIdle() {
	s.mu.Lock()
	left := s.expire - time.Since(s.used)
	if s.places > 0 {
		left = s.expire
	}
	if left > 0 || s.err != nil {
		if s.err == nil {
			s.idle.Reset(left)
		}
		s.mu.Unlock()
		return
	}
	s.retired = true // under the lock: no place can be taken any more
	s.mu.Unlock()
	s.fail(errIdle)
}
