// Package mux exchanges messages with a resolver over encrypted connections on which each
// query has a stream of its own: DNS over HTTPS (RFC 8484), by HTTP/2 or HTTP/3, and over QUIC
// (RFC 9250).
package mux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
)

const (
	// share is how many queries a connection carries before another one is opened, and most
	// how many there are; beyond, they are shared further.
	share = 64
	most  = 4
	// maxMessage is the most that a DNS message can have.
	maxMessage = 1<<16 - 1
)

// Options are what one resolver is queried with.
type Options struct {
	Address address.Address
	Addrs   func(context.Context) ([]netip.AddrPort, error)
	Trust   *trust.Server
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)       // a marked stream
	Listen  func(ctx context.Context, network, addr string) (net.PacketConn, error) // marked datagrams
	Timeout time.Duration                                                           // for connecting, and the longest silence
	Expire  time.Duration                                                           // idle connections
}

// Reply is what came for a query.
type Reply struct {
	Msg []byte
	Age uint32 // seconds that HTTP caches kept it
}

// Failure is why there is no reply, with a word for the metrics.
type Failure struct {
	Reason string
	Err    error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

func failure(reason, format string, args ...any) error {
	return &Failure{reason, fmt.Errorf(format, args...)}
}

var (
	// errSilent ends a query on a connection on which nothing was received since.
	errSilent = errors.New("connection is silent")
	errClosed = errors.New("resolver is no longer used")
)

// conn is one connection. It is safe for concurrent use.
type conn interface {
	exchange(ctx context.Context, framed []byte) (Reply, error)
	received() uint64 // packets or bytes so far, of any kind
	usable() bool     // it takes further queries
	close()
}

// Client keeps the connections to one resolver with one mark.
type Client struct {
	options Options
	dial    func(context.Context) (conn, error)

	mu      sync.Mutex
	conns   []*member
	opening *opening
	closed  bool
}

// member is a connection in use.
type member struct {
	conn
	load    int // queries in flight
	used    time.Time
	retired bool // it closes with its last query
	idle    *time.Timer
}

// opening is a connection that is being opened for all queries that wait for it.
type opening struct {
	done   chan struct{}
	member *member
	err    error
}

// NewClient returns a client that has no connection yet.
func NewClient(o Options) *Client {
	c := &Client{options: o}
	switch o.Address.Transport {
	case address.HTTPS:
		c.dial = newHTTP2(&c.options).dial
	case address.HTTP3:
		c.dial = newHTTP3(&c.options).dial
	default:
		c.dial = c.options.dialDoQ
	}
	return c
}

// Exchange sends a query that follows the two bytes of its length, with id 0, and returns its
// reply. A connection may have ended while it was idle, or the resolver may have gone: then
// the query is sent once more, on another one.
func (c *Client) Exchange(ctx context.Context, framed []byte) (Reply, error) {
	for again := false; ; again = true {
		m, fresh, err := c.take(ctx)
		if err != nil {
			return Reply{}, err
		}
		r, err := c.try(ctx, m, framed)
		if err == nil || fresh || again || ctx.Err() != nil || errors.As(err, new(*Failure)) {
			return r, err
		}
	}
}

// try sends a query on a connection, and retires one that broke or is silent.
func (c *Client) try(ctx context.Context, m *member, framed []byte) (Reply, error) {
	own, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before := m.received()
	silence := time.AfterFunc(c.options.Timeout, func() {
		if m.received() == before {
			cancel(errSilent)
		}
	})
	r, err := m.exchange(own, framed)
	silence.Stop()
	if err != nil && ctx.Err() == nil && context.Cause(own) == errSilent {
		err = errSilent
	}
	c.put(m, err == errSilent)
	return r, err
}

// take returns a connection with the query counted in; fresh is one that was opened for it.
func (c *Client) take(ctx context.Context) (m *member, fresh bool, err error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, false, errClosed
	}
	if m := c.pickLocked(); m != nil {
		m.load++
		if m.load > share && len(c.conns) < most {
			c.openLocked()
		}
		c.mu.Unlock()
		return m, false, nil
	}
	o := c.openLocked()
	c.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	case <-o.done:
	}
	if o.err != nil {
		return nil, false, o.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o.member.load++
	return o.member, true, nil
}

// pickLocked returns the connection with the fewest queries, and forgets those that have
// ended.
func (c *Client) pickLocked() *member {
	var best *member
	left := c.conns[:0]
	for _, m := range c.conns {
		if m.retired || !m.usable() {
			c.retireLocked(m)
			continue
		}
		left = append(left, m)
		if best == nil || m.load < best.load {
			best = m
		}
	}
	clear(c.conns[len(left):])
	c.conns = left
	return best
}

// openLocked opens a connection for all queries that wait for one.
func (c *Client) openLocked() *opening {
	if c.opening != nil {
		return c.opening
	}
	o := &opening{done: make(chan struct{})}
	c.opening = o
	go func() {
		// Not the context of the query that started it: that may end before the others.
		ctx, cancel := context.WithTimeout(context.Background(), c.options.Timeout)
		defer cancel()
		opened, err := c.dial(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		defer close(o.done)
		c.opening = nil
		switch {
		case err != nil:
			o.err = err
		case c.closed:
			opened.close()
			o.err = errClosed
		default:
			o.member = &member{conn: opened, used: time.Now()}
			o.member.idle = time.AfterFunc(c.options.Expire, func() { c.expire(o.member) })
			c.conns = append(c.conns, o.member)
		}
	}()
	return o
}

// put counts a query out.
func (c *Client) put(m *member, retire bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.load--
	m.used = time.Now()
	if retire || m.retired {
		c.retireLocked(m)
	}
}

// retireLocked lets a connection's queries finish and takes no more.
func (c *Client) retireLocked(m *member) {
	m.retired = true
	m.idle.Stop()
	if m.load <= 0 {
		go m.close() // it may wait for its reader, and for packets to be sent
	}
}

// expire closes a connection that was idle for long enough, or checks again later.
func (c *Client) expire(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := c.options.Expire - time.Since(m.used)
	if m.load > 0 {
		left = c.options.Expire
	}
	switch {
	case m.retired:
	case left > 0:
		m.idle.Reset(left)
	default:
		c.retireLocked(m)
	}
}

// Close lets the queries in flight finish; their connections close with them.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, m := range c.conns {
		c.retireLocked(m)
	}
	c.conns = nil
}
