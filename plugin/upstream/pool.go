package upstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// The shape of a pool of datagram sockets. Several sockets, and none of them for
// long, keep the source port worth guessing (RFC 5452, section 9.2) while a busy
// resolver does not cost a socket for every question.
const (
	udpSpread = 4   // sockets that are opened before one is shared
	udpShare  = 128 // questions in flight on one before another is opened
	udpMost   = 32  // sockets; beyond, they are shared further
	udpUses   = 512 // questions on one before it is replaced
	udpAge    = 10 * time.Second
)

// The shape of a pool of streams: few connections, pipelined (RFC 7766, section
// 6.2.1.1).
const (
	// streamShare is small, because there are servers that answer one question of a
	// connection after the other, and then each waits for the slowest before it.
	streamShare = 16
	streamMost  = 8
	// serialFor is how long a resolver that hung up on pipelined questions is asked
	// one question at a time for each connection.
	serialFor = time.Minute
)

// pool keeps the sockets to one resolver with one mark.
type pool struct {
	datagram bool
	metrics  *poolMetrics
	open     func(context.Context) (*socket, error)
	timeout  time.Duration // for opening a socket that several questions wait for
	strange  func(verdict)

	serialUntil atomic.Pointer[time.Time] // by the monotonic clock: the other may be set

	mu      sync.Mutex
	sockets []*socket
	opening *opening
	closed  bool
}

// opening is a connection that is being made, and those who wait for it.
type opening struct {
	done   chan struct{}
	socket *socket
	err    error
}

// get returns a socket with a place reserved on it.
func (p *pool) get(ctx context.Context, end time.Time) (*socket, error) {
	if p.datagram {
		return p.getDatagram(ctx)
	}
	p.mu.Lock()
	serial := p.serial()
	limit := streamShare
	if serial {
		limit = 1
	}
	s := p.pick(limit)
	if s == nil && !serial && len(p.sockets) >= streamMost {
		s = p.pick(maxPending)
	}
	if s != nil || serial {
		p.mu.Unlock()
		if s != nil {
			return s, nil
		}
		return p.fresh(ctx, end)
	}
	o := p.openShared()
	p.mu.Unlock()
	return p.await(ctx, end, o)
}

// await waits for a connection that is being made.
func (p *pool) await(ctx context.Context, end time.Time, o *opening) (*socket, error) {
	t := time.NewTimer(time.Until(end))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
		return nil, errTimeout
	case <-o.done:
	}
	if o.err != nil {
		return nil, o.err
	}
	if o.socket.reserve() {
		return o.socket, nil
	}
	// It was closed again before we came to use it: a connection of our own.
	return p.fresh(ctx, end)
}

// getDatagram opens a socket under the lock: it takes microseconds and sends nothing.
func (p *pool) getDatagram(ctx context.Context) (*socket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sockets) >= udpSpread || p.closed {
		if s := p.pick(udpShare); s != nil {
			return s, nil
		}
		if len(p.sockets) >= udpMost {
			if s := p.pick(maxPending); s != nil {
				return s, nil
			}
		}
	}
	s, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	p.begin(s)
	s.reserve()
	p.keep(s)
	return s, nil
}

// pick reserves a place on a random socket with fewer than limit taken; nil
// where there is none. It drops the sockets that are through. p.mu is held.
func (p *pool) pick(limit int) *socket {
	live := p.sockets[:0]
	for _, s := range p.sockets {
		if !p.through(s) {
			live = append(live, s)
		}
	}
	clear(p.sockets[len(live):])
	p.sockets = live
	// math/rand is enough: which socket it is adds nothing to what its port and
	// the id already hide.
	for i, from := 0, rand.IntN(len(live)+1); i < len(live); i++ {
		s := live[(from+i)%len(live)]
		if s.load() < limit && s.reserve() {
			return s
		}
	}
	return nil
}

// through reports whether a socket takes no more questions, and retires one that
// is old or worn.
func (p *pool) through(s *socket) bool {
	s.mu.Lock()
	over := s.retired || s.err != nil
	worn := p.datagram && (s.uses >= udpUses || time.Since(s.born) > udpAge)
	s.mu.Unlock()
	if worn && !over {
		s.retire()
	}
	return over || worn
}

// openShared begins one connection for all that wait. p.mu is held.
func (p *pool) openShared() *opening {
	if p.opening != nil {
		return p.opening
	}
	o := &opening{done: make(chan struct{})}
	p.opening = o
	go func() {
		// A context of its own: whoever began it may leave before the others.
		ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
		defer cancel()
		o.socket, o.err = p.open(ctx)
		p.mu.Lock()
		p.opening = nil
		if o.err == nil {
			p.begin(o.socket)
			p.keep(o.socket)
		}
		p.mu.Unlock()
		close(o.done)
	}()
	return o
}

// fresh opens a socket for one question alone. done hands it to the pool.
func (p *pool) fresh(ctx context.Context, end time.Time) (*socket, error) {
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	s, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	s.lone = true
	p.begin(s)
	s.reserve()
	return s, nil
}

// done gives the place back, and lets others use a socket that was made for one
// question.
func (p *pool) done(s *socket) {
	if s.lone {
		s.lone = false
		p.mu.Lock()
		p.keep(s)
		p.mu.Unlock()
	}
	s.release()
}

func (p *pool) begin(s *socket) {
	s.strange = p.strange
	s.hungUp = func(served, waiting int) {
		if served > 0 && waiting > 0 {
			until := time.Now().Add(serialFor)
			p.serialUntil.Store(&until)
		}
	}
	s.start()
}

// keep puts a socket into the pool. After close, sockets serve what is in
// flight and nothing after it. p.mu is held.
func (p *pool) keep(s *socket) {
	if p.closed {
		s.retire()
		return
	}
	p.sockets = append(p.sockets, s)
}

func (p *pool) serial() bool {
	until := p.serialUntil.Load()
	return until != nil && time.Now().Before(*until)
}

// close lets the questions in flight finish, and their sockets with them.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.sockets {
		s.retire()
	}
	p.sockets = nil
}
