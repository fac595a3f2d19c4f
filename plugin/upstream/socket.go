package upstream

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"
)

// caseGrace is how long the right reply may still come after one whose question
// has another case, before the question is asked again over TCP.
const caseGrace = 100 * time.Millisecond

// maxPending keeps ids free to choose among: with more in flight on one socket,
// finding an unused one would take several draws.
const maxPending = 1 << 14

var (
	// errCase: only replies with another case came. The resolver does not keep the
	// case, or somebody guesses: a stream settles it.
	errCase = errors.New("the reply's question has another case")
	// errBroken: the socket ended before the reply came.
	errBroken  = errors.New("connection closed by the resolver")
	errTimeout = errors.New("no reply")
	errSilent  = errors.New("nothing comes on the connection")
	errFull    = errors.New("too many questions in flight on one socket")
	errIdle    = errors.New("socket was idle")
)

// framing tells datagrams and streams apart.
type framing interface {
	// write sends a message that stands behind its two bytes of length. It is
	// called from many goroutines.
	write(framed []byte) error
	// read returns the next message, which is valid until the next call.
	read() ([]byte, error)
}

// socket is one connected, marked socket with many questions in flight. Replies
// are told apart by their ids; the kernel lets nothing in from another address.
//
// A question first takes a place (reserve) and then uses it (ask). A retired
// socket gives no more places, and closes when the last one is given back.
type socket struct {
	conn     net.Conn
	framing  framing
	datagram bool
	expire   time.Duration             // idle for this long, it is closed
	lone     bool                      // made for one question, not yet in the pool
	strange  func(verdict)             // told about every message that is not a reply to us
	hungUp   func(served, waiting int) // told when the resolver closed a stream

	mu       sync.Mutex
	pending  map[uint16]*pending
	places   int // reserved, with or without a question in flight
	uses     int // places given so far
	served   int // replies delivered
	born     time.Time
	used     time.Time
	retired  bool
	err      error // why it is closed
	idle     *time.Timer
	lastRead time.Time
}

// pending is one question in flight.
type pending struct {
	query query
	done  chan reply // holds one; whoever takes the entry out of the map sends
	doubt *time.Timer
}

type reply struct {
	msg []byte
	err error
}

func newSocket(conn net.Conn, f framing, datagram bool, expire time.Duration) *socket {
	now := time.Now()
	return &socket{
		conn: conn, framing: f, datagram: datagram, expire: expire,
		pending: make(map[uint16]*pending), born: now, used: now,
	}
}

// start begins to read. It ends when the socket is closed.
func (s *socket) start() {
	s.mu.Lock()
	s.idle = time.AfterFunc(s.expire, s.closeIdle)
	s.mu.Unlock()
	go func() {
		for {
			msg, err := s.framing.read()
			if err != nil {
				s.fail(err)
				return
			}
			s.deliver(msg)
		}
	}()
}

// reserve takes a place for one question; false means that the socket takes no more.
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

// retire lets the questions in flight finish and takes no more.
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

// ask sends the query and waits until end for its reply, on a place that was
// reserved. An error other than the context's, errTimeout and errCase means that
// the socket is broken.
func (s *socket) ask(ctx context.Context, end time.Time, q query) ([]byte, error) {
	p, id, err := s.enter(q)
	if err != nil {
		return nil, err
	}
	defer s.leave(id, p)
	sent := time.Now()
	if err := s.framing.write(q.framed); err != nil {
		s.fail(err) // which ends p, too
	}
	wait, again := end.Sub(sent), s.datagram // a stream loses nothing
	if again {
		wait /= 3
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case r := <-p.done:
			return r.msg, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			if !again {
				s.silent(sent)
				return nil, errTimeout
			}
			// The same datagram, id and all: one more packet for the resolver and not
			// one more chance for a forger. Clients that ask again cannot do this for
			// us, because their questions are coalesced with the one in flight.
			again = false
			timer.Reset(time.Until(end))
			if err := s.framing.write(q.framed); err != nil {
				s.fail(err)
			}
		}
	}
}

// silent draws the consequence of a reply that did not come. A datagram socket may
// have an address that the box no longer has: the next question gets a new one. A
// stream on which nothing came at all is dead, and nobody told us.
func (s *socket) silent(since time.Time) {
	if s.datagram {
		s.retire()
		return
	}
	s.mu.Lock()
	dead := s.lastRead.Before(since)
	s.mu.Unlock()
	if dead {
		s.fail(errSilent)
	}
}

// enter puts the query in flight under a random id that no other one has here.
func (s *socket) enter(q query) (*pending, uint16, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, 0, s.err
	}
	if len(s.pending) >= maxPending {
		return nil, 0, errFull
	}
	var b [2]byte
	for {
		// crypto/rand: RFC 5452, section 9.2 asks for an unpredictable id.
		rand.Read(b[:]) // never returns an error
		id := binary.BigEndian.Uint16(b[:])
		if _, taken := s.pending[id]; taken {
			continue
		}
		q.setID(id)
		p := &pending{query: q, done: make(chan reply, 1)}
		s.pending[id] = p
		return p, id, nil
	}
}

// leave takes the question out, if its reply has not done so.
func (s *socket) leave(id uint16, p *pending) {
	s.mu.Lock()
	if s.pending[id] == p {
		delete(s.pending, id)
	}
	if p.doubt != nil {
		p.doubt.Stop()
	}
	s.mu.Unlock()
}

// deliver gives a message to the question that it answers.
func (s *socket) deliver(msg []byte) {
	if v := s.accept(msg); v != accepted {
		s.strange(v)
	}
}

func (s *socket) accept(msg []byte) verdict {
	if len(msg) < headerLen {
		return malformed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastRead = time.Now()
	id := binary.BigEndian.Uint16(msg)
	p := s.pending[id]
	if p == nil {
		return unknownID
	}
	v := match(p.query, msg, !s.datagram)
	switch v {
	case accepted:
		delete(s.pending, id)
		s.served++
		p.done <- reply{msg: append([]byte(nil), msg...)}
	case wrongCase:
		if p.doubt == nil {
			p.doubt = time.AfterFunc(caseGrace, func() { s.giveUp(id, p, errCase) })
		}
	}
	return v
}

// giveUp ends one question with an error, unless its reply came.
func (s *socket) giveUp(id uint16, p *pending, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[id] == p {
		delete(s.pending, id)
		p.done <- reply{err: err}
	}
}

// fail closes the socket and ends all questions in flight on it.
func (s *socket) fail(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err, s.retired = err, true
	waiting := len(s.pending)
	for id, p := range s.pending {
		delete(s.pending, id)
		p.done <- reply{err: err}
	}
	served := s.served
	s.idle.Stop()
	s.mu.Unlock()
	s.conn.Close() // nothing is left to be lost
	if errors.Is(err, errBroken) {
		s.hungUp(served, waiting)
	}
}

// closeIdle closes a socket that nobody used for its time, or looks again later.
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
