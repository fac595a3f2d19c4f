package upstream

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/mux"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// Limits of a pool of datagram sockets. A source port of its own for each query (RFC 5452, section
// 9.2) costs a socket. A house or an office never notices; a busier resolver shares sockets that
// are replaced soon, so that a port that was found out is of little use.
const (
	ownPorts      = 256 // sockets for one query each, per second
	ownPortsBurst = 128
	udpSpread     = 8   // shared sockets opened before one is shared
	udpShare      = 64  // queries in flight on one before another is opened
	udpMost       = 32  // sockets; beyond, they are shared further
	udpUses       = 128 // queries sent on one before it is replaced
	udpAge        = time.Second
)

// Limits of a pool of streams: few connections, pipelined (RFC 7766, section 6.2.1.1).
const (
	// streamShare is small because some servers answer the queries of a connection one
	// by one, so that each waits for the slowest before it.
	streamShare = 16
	streamMost  = 8
	// serialFor is how long a resolver that closed a connection with pipelined queries
	// gets one query at a time on each connection.
	serialFor = time.Minute
)

// pool keeps the sockets to one resolver with one mark.
type pool struct {
	datagram   bool
	metrics    *poolMetrics
	open       func(context.Context) (*socket, error)
	timeout    time.Duration // for opening a socket that several queries wait for
	onMismatch func(wire.Verdict)
	mux        *mux.Client // where each query has a stream of its own: there are no sockets

	serialUntil atomic.Pointer[time.Time] // monotonic: the wall clock may be set

	mu      sync.Mutex
	sockets []*socket
	ports   allowance
	opening *opening
	closed  bool
}

// opening is a connection that is being opened for all queries that wait for it.
type opening struct {
	done   chan struct{}
	socket *socket
	err    error
}

// ready returns a socket with a place reserved on it, a new one where fresh says so, or nil
// where a stream must be opened first.
func (p *pool) ready(ctx context.Context, fresh bool) (*socket, error) {
	if p.datagram {
		return p.datagramSocket(ctx, fresh)
	}
	if fresh {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pickStreamLocked(), nil
}

// pickStreamLocked returns an open stream, nil where another one should be opened.
func (p *pool) pickStreamLocked() *socket {
	if p.serial() {
		return p.pickLocked(1)
	}
	s := p.pickLocked(streamShare)
	if s == nil && len(p.sockets) >= streamMost {
		s = p.pickLocked(maxPending)
	}
	return s
}

// get returns a stream with a place reserved on it.
func (p *pool) get(ctx context.Context, end time.Time) (*socket, error) {
	p.mu.Lock()
	if s := p.pickStreamLocked(); s != nil {
		p.mu.Unlock()
		return s, nil
	}
	if p.serial() {
		p.mu.Unlock()
		return p.openExclusive(ctx, end)
	}
	o := p.openSharedLocked()
	p.mu.Unlock()
	return p.await(ctx, end, o)
}

// await waits for a connection that is being opened.
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
	// It was closed again before it could be used: open one for this query alone.
	return p.openExclusive(ctx, end)
}

// datagramSocket gives each query a socket and so a source port of its own, until too many
// were opened lately; then a few are shared. It opens one while it holds the lock: that takes
// microseconds and sends nothing.
func (p *pool) datagramSocket(ctx context.Context, fresh bool) (*socket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.ports.take(time.Now()) || p.closed
	if !own {
		if len(p.sockets) >= udpSpread && !fresh {
			if s := p.pickLocked(udpShare); s != nil {
				return s, nil
			}
		}
		if len(p.sockets) >= udpMost {
			if s := p.pickLocked(maxPending); s != nil {
				return s, nil
			}
		}
	}
	s, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	s.reserve()
	s.retired = own
	p.start(s)
	if !own {
		p.addLocked(s)
	}
	return s, nil
}

// allowance is a token bucket of sockets that may be opened.
type allowance struct {
	left float64
	last time.Time
}

func (a *allowance) take(now time.Time) bool {
	a.left = min(ownPortsBurst, a.left+now.Sub(a.last).Seconds()*ownPorts)
	a.last = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

// pickLocked reserves a place on a random socket with fewer than limit taken; nil where
// there is none. It drops the expired sockets that it finds.
func (p *pool) pickLocked(limit int) *socket {
	// math/rand is enough: the choice of socket adds nothing to the entropy of port
	// and id.
	i := 0
	if n := len(p.sockets); n > 1 {
		i = rand.IntN(n)
	}
	for left := len(p.sockets); left > 0; left-- {
		last := len(p.sockets) - 1
		i = min(i, last)
		s := p.sockets[i]
		switch {
		case p.expired(s):
			p.sockets[i], p.sockets[last] = p.sockets[last], nil
			p.sockets = p.sockets[:last]
		case s.load() < limit && s.reserve():
			return s
		default:
			if i++; i > last {
				i = 0
			}
		}
	}
	return nil
}

// expired reports whether a socket takes no more queries, and retires one that has
// reached its age or its number of uses.
func (p *pool) expired(s *socket) bool {
	s.mu.Lock()
	over := s.retired || s.err != nil
	worn := p.datagram && (s.uses >= udpUses || time.Since(s.born) > udpAge)
	s.mu.Unlock()
	if worn && !over {
		s.retire()
	}
	return over || worn
}

// openSharedLocked opens one connection for all queries that wait for one.
func (p *pool) openSharedLocked() *opening {
	if p.opening != nil {
		return p.opening
	}
	o := &opening{done: make(chan struct{})}
	p.opening = o
	go func() {
		// Not the context of the query that started it: that may end before the others.
		ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
		defer cancel()
		o.socket, o.err = p.open(ctx)
		p.mu.Lock()
		p.opening = nil
		if o.err == nil {
			p.start(o.socket)
			p.addLocked(o.socket)
		}
		p.mu.Unlock()
		close(o.done)
	}()
	return o
}

// openExclusive opens a socket for one query alone. put adds it to the pool.
func (p *pool) openExclusive(ctx context.Context, end time.Time) (*socket, error) {
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	s, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	s.exclusive = true
	p.start(s)
	s.reserve()
	return s, nil
}

// put gives the place back, and adds a socket that was opened for one query to the
// pool.
func (p *pool) put(s *socket) {
	if s.exclusive {
		s.exclusive = false
		p.mu.Lock()
		p.addLocked(s)
		p.mu.Unlock()
	}
	s.release()
}

func (p *pool) start(s *socket) {
	s.onMismatch = p.onMismatch
	s.hungUp = func(served, waiting int) {
		if served > 0 && waiting > 0 {
			until := time.Now().Add(serialFor)
			p.serialUntil.Store(&until)
		}
	}
	s.start()
}

// addLocked adds a socket to the pool. After close it is retired instead: queries in
// flight finish, and none follows.
func (p *pool) addLocked(s *socket) {
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

// close lets the queries in flight finish; their sockets close with them.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.mux != nil {
		p.mux.Close()
	}
	for _, s := range p.sockets {
		s.retire()
	}
	p.sockets = nil
}
