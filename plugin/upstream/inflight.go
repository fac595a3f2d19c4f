package upstream

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
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
