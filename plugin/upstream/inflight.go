package upstream

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"
)

// caseGrace is how long the right reply may still come after one whose question section
// has another case, before the query is sent again over TCP.
const caseGrace = 100 * time.Millisecond

// maxPending bounds the queries in flight on one socket, so that a random id is unused
// at the first or second draw.
const maxPending = 1 << 14

var (
	// errCase: only replies with another case came. Either the resolver does not
	// preserve case or the replies are forged; a stream settles it.
	errCase = errors.New("the reply's question has another case")
	// errBroken: the socket ended before the reply came.
	errBroken     = errors.New("connection closed by the resolver")
	errTimeout    = errors.New("no reply")
	errDeadStream = errors.New("connection is dead: nothing received")
	errFull       = errors.New("too many queries in flight on one socket")
	errIdle       = errors.New("socket was idle")
)

// pending is one query in flight.
type pending struct {
	query     packedQuery
	done      chan reply // of capacity 1; whoever deletes the map entry sends
	caseTimer *time.Timer
}

type reply struct {
	msg []byte
	err error
}

// exchange sends the query and waits until end for its reply; the caller has reserved
// a place. An error other than the context's, errTimeout and errCase means that the
// socket is broken.
func (s *socket) exchange(ctx context.Context, end time.Time, q packedQuery) ([]byte, error) {
	p, id, err := s.register(q)
	if err != nil {
		return nil, err
	}
	defer s.unregister(id, p)
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
				s.noReply(sent)
				return nil, errTimeout
			}
			// The same datagram with the same id: one more packet for the resolver, and no
			// further chance for a forger. Clients' retries do not do this for us, because
			// their queries are coalesced with the one in flight.
			again = false
			timer.Reset(time.Until(end))
			if err := s.framing.write(q.framed); err != nil {
				s.fail(err)
			}
		}
	}
}

// noReply retires a socket that may be the reason why no reply came. A datagram socket
// may be bound to an address that the box no longer has. A stream on which nothing was
// received since the query was sent is dead.
func (s *socket) noReply(since time.Time) {
	if s.datagram {
		s.retire()
		return
	}
	s.mu.Lock()
	dead := s.lastRead.Before(since)
	s.mu.Unlock()
	if dead {
		s.fail(errDeadStream)
	}
}

// register gives the query a random id that no other one on this socket has.
func (s *socket) register(q packedQuery) (*pending, uint16, error) {
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

// unregister removes a query whose reply was not delivered.
func (s *socket) unregister(id uint16, p *pending) {
	s.mu.Lock()
	if s.pending[id] == p {
		delete(s.pending, id)
	}
	if p.caseTimer != nil {
		p.caseTimer.Stop()
	}
	s.mu.Unlock()
}

// deliver hands a message to the query that it answers.
func (s *socket) deliver(msg []byte) {
	if v := s.accept(msg); v != accepted {
		s.onMismatch(v)
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
		if p.caseTimer == nil {
			p.caseTimer = time.AfterFunc(caseGrace, func() { s.abandon(id, p, errCase) })
		}
	}
	return v
}

// abandon ends one query with an error, unless its reply came first.
func (s *socket) abandon(id uint16, p *pending, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[id] == p {
		delete(s.pending, id)
		p.done <- reply{err: err}
	}
}
