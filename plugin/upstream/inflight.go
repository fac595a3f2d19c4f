package upstream

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

const (
	// maxPending bounds the queries in flight on one socket, so that a random id is unused
	// at the first or second draw.
	maxPending = 1 << 14
	// maxWrong is how many messages that answer nothing a datagram socket takes, and for each of
	// its queries another latePerQuery, because replies come late and twice. One more is taken for
	// an attacker who guesses: its queries go over TCP (PowerDNS: spoof-nearmiss-max).
	maxWrong     = 16
	latePerQuery = 2
)

var (
	errTimeout = errors.New("no reply")
	errFull    = errors.New("too many queries in flight on one socket")
	errIdle    = errors.New("socket was idle")
)

// send gives the query a random id and sends it; the caller has reserved a place. An error
// means that the socket is broken.
func (s *socket) send(f *flight) error {
	if err := s.register(f); err != nil {
		return err
	}
	return s.write(f)
}

// write sends the query, with the same id where it is not the first time: one more packet
// for the resolver, and no further chance for a forger. A socket that breaks ends the flight.
func (s *socket) write(f *flight) error {
	if err := s.messages.Write(f.query.Framed); err != nil {
		s.fail(err)
	}
	return nil
}

// register gives the query a random id that no other one on this socket has.
func (s *socket) register(f *flight) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if len(s.pending) >= maxPending {
		return errFull
	}
	var b [2]byte
	for {
		// crypto/rand: RFC 5452, section 9.2 asks for an unpredictable id.
		rand.Read(b[:]) // never returns an error
		f.id = binary.BigEndian.Uint16(b[:])
		if _, taken := s.pending[f.id]; taken {
			continue
		}
		f.query.SetID(f.id)
		s.pending[f.id] = f
		return nil
	}
}

// unregister removes a flight whose reply is not waited for any more.
func (s *socket) unregister(f *flight) {
	s.mu.Lock()
	if s.pending[f.id] == f {
		delete(s.pending, f.id)
	}
	s.mu.Unlock()
}

// silent retires a socket on which nothing was received since the query was sent, so that it
// may be the reason. A datagram socket may be bound to an address that the box no longer
// has, and a stream may be dead.
func (s *socket) silent(since time.Time) bool {
	s.mu.Lock()
	silent := s.lastRead.Before(since)
	s.mu.Unlock()
	if silent {
		s.retire()
	}
	return silent
}

// deliver hands a message to the query that it answers.
func (s *socket) deliver(msg []byte) {
	v, flooded := s.accept(msg)
	if v != wire.Accepted {
		s.onMismatch(v)
	}
	if flooded {
		s.retire()
	}
}

// accept checks a message and posts it to its query. A query is told of the first message
// that may be its resolver's odd way of answering. flooded is true once, when there were too
// many that were no answers; later replies are not trusted.
func (s *socket) accept(msg []byte) (v wire.Verdict, flooded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastRead = time.Now()
	f, v := s.check(msg)
	switch {
	case v == wire.Accepted:
		delete(s.pending, f.id)
		s.served++
		e := event{flight: f, msg: bytes.Clone(msg)}
		if s.flooded {
			e.odd = wire.UnknownID
		}
		f.mail.post(e)
		return v, false
	case !s.datagram:
		return v, false
	case v == wire.HasIgnored:
		if !f.poisoned {
			f.poisoned = true
			f.mail.post(event{flight: f, odd: v})
		}
		return v, false
	case (v == wire.WrongCase || v == wire.WithoutCookie) && !f.asked:
		f.asked = true
		f.mail.post(event{flight: f, msg: bytes.Clone(msg), odd: v})
	}
	s.wrong++
	if s.flooded || s.wrong <= maxWrong+latePerQuery*s.uses {
		return v, false
	}
	s.flooded = true
	for _, f := range s.pending {
		f.mail.post(event{flight: f, odd: wire.UnknownID})
	}
	return v, true
}

// check finds the flight that a message answers, and compares the two.
func (s *socket) check(msg []byte) (*flight, wire.Verdict) {
	if len(msg) < wire.HeaderLen {
		return nil, wire.Malformed
	}
	f := s.pending[binary.BigEndian.Uint16(msg)]
	if f == nil {
		return nil, wire.UnknownID
	}
	v := wire.Match(f.query, msg, f.loose || !s.datagram)
	if v != wire.Accepted {
		return f, v
	}
	from := f.records(msg)
	if s.datagram && f.lane != nil && f.lane.r.opts.ignore.In(msg, from) {
		return f, wire.HasIgnored
	}
	f.kept = msg[5] != 1 || bytes.Equal(f.query.Msg()[wire.HeaderLen:from], msg[wire.HeaderLen:from])
	if f.using&wire.Cookies == 0 {
		return f, wire.Accepted
	}
	// RFC 7873, section 5.3.
	c := wire.CookieIn(msg, from)
	switch {
	case c == nil && f.cookie.Server != nil:
		return f, wire.WithoutCookie
	case c != nil && (len(c) < wire.ClientCookieLen || len(c) > wire.MaxCookieLen || [wire.ClientCookieLen]byte(c) != f.cookie.Client):
		return f, wire.WrongCookie
	}
	return f, wire.Accepted
}
