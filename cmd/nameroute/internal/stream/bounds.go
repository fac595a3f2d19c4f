package stream

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxTotal bounds the connections of all clients. Over TLS each takes some 40 KiB.
	maxTotal = 2000

	// clientShare is the part of all connections that one address may have, and netShare
	// that of one IPv6 /64, of which a single machine may use every address.
	clientShare, netShare = 4, 2

	// clientQueries is how many queries of one address over all its connections may wait
	// for their answers.
	clientQueries = 256
)

// Bounds limits what clients hold open. When there is one too many, the one that has been idle for
// longest is closed, beginning with those that never sent a query.
type Bounds struct {
	Total, PerNet, PerClient int

	// Evicted is called for each connection that a bound ends, in a goroutine of its own.
	Evicted func(client netip.Addr)

	mu      sync.Mutex
	clients map[netip.Addr]*client
	nets    map[netip.Prefix]int
	places  map[*place]bool
}

// NewBounds returns bounds that leave half of the files that the process may open for
// everything else.
func NewBounds(evicted func(netip.Addr)) *Bounds {
	total := maxTotal
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && files.Cur < 2*maxTotal {
		total = max(int(files.Cur/2), clientShare)
	}
	return &Bounds{Total: total, PerNet: total / netShare, PerClient: total / clientShare, Evicted: evicted}
}

// Resize sets how many connections may be open, fewer where the process may not open as many
// files; below 1 the limit on open files is the only one.
func (b *Bounds) Resize(total int) {
	all := NewBounds(nil)
	if total > 0 {
		all.Total = min(all.Total, total)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Total, b.PerNet, b.PerClient = all.Total, max(all.Total/netShare, 1), max(all.Total/clientShare, 1)
}

// client is what one address has open.
type client struct {
	places int
	slots  chan struct{} // one for each query that waits for its answer
}

// activity is how busy a connection is.
type activity interface {
	busy() bool
	lastActive() int64
}

// place is that of one connection.
type place struct {
	bounds   *Bounds
	addr     netip.Addr
	client   *client
	activity activity
	end      func() error
	asked    atomic.Bool
}

// enter takes a place for a connection, which end ends. It returns nil where a bound does
// not allow it: everything in its scope is busy.
func (b *Bounds) enter(from net.Addr, a activity, end func() error) *place {
	addr := addrOf(from)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.places == nil {
		b.clients, b.nets, b.places = map[netip.Addr]*client{}, map[netip.Prefix]int{}, map[*place]bool{}
	}
	if c := b.clients[addr]; c != nil && c.places >= b.PerClient && !b.evict(func(p *place) bool { return p.addr == addr }) {
		return nil
	}
	if n := netOf(addr); b.nets[n] >= b.PerNet && !b.evict(func(p *place) bool { return netOf(p.addr) == n }) {
		return nil
	}
	if len(b.places) >= b.Total && !b.evict(func(*place) bool { return true }) {
		return nil
	}
	c := b.clients[addr]
	if c == nil {
		c = &client{slots: make(chan struct{}, clientQueries)}
		b.clients[addr] = c
	}
	p := &place{bounds: b, addr: addr, client: c, activity: a, end: end}
	c.places++
	b.nets[netOf(addr)]++
	b.places[p] = true
	return p
}

// evict ends the idlest connection in a scope.
func (b *Bounds) evict(in func(*place) bool) bool {
	var idlest *place
	for p := range b.places {
		if in(p) && !p.activity.busy() && (idlest == nil || p.idlerThan(idlest)) {
			idlest = p
		}
	}
	if idlest == nil {
		return false
	}
	b.remove(idlest)
	go func() { // b is locked; TLS and a log may take their time
		_ = idlest.end() // it may have ended by itself
		if b.Evicted != nil {
			b.Evicted(idlest.addr)
		}
	}()
	return true
}

func (p *place) idlerThan(o *place) bool {
	if asked := o.asked.Load(); p.asked.Load() != asked {
		return asked
	}
	return p.activity.lastActive() < o.activity.lastActive()
}

// remove takes a place away, once.
func (b *Bounds) remove(p *place) {
	if !b.places[p] {
		return
	}
	delete(b.places, p)
	if p.client.places--; p.client.places == 0 {
		delete(b.clients, p.addr)
	}
	n := netOf(p.addr)
	if b.nets[n]--; b.nets[n] == 0 {
		delete(b.nets, n)
	}
}

// leave gives the place up.
func (p *place) leave() {
	p.bounds.mu.Lock()
	defer p.bounds.mu.Unlock()
	p.bounds.remove(p)
}

// take waits until the client may have another query answered, and give is called once
// it is.
func (p *place) take() { p.client.slots <- struct{}{} }
func (p *place) give() { <-p.client.slots }

// addrOf returns the address of a connection's other end.
func addrOf(a net.Addr) netip.Addr {
	ap, _ := netip.ParseAddrPort(a.String()) // the zero Addr is a client, too
	return ap.Addr().Unmap().WithZone("")
}

// netOf returns the network of an address that one client may have to itself: a /64 of
// IPv6 (RFC 7934).
func netOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // the zero Addr has the zero Prefix
	return p
}

// Limit returns a listener whose connections stay in bounds, for servers that read their
// connections themselves.
func (b *Bounds) Limit(l net.Listener) net.Listener { return &limited{l, b} }

type limited struct {
	net.Listener
	bounds *Bounds
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &limitedConn{Conn: raw, tally: &tally{}}
		c.touch()
		if c.place = l.bounds.enter(raw.RemoteAddr(), c, raw.Close); c.place != nil {
			return c, nil
		}
		raw.Close()
	}
}

// limitedConn counts as active while it is read.
type limitedConn struct {
	net.Conn
	*tally
}

func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.touch()
	}
	return n, err
}

func (c *limitedConn) Close() error {
	c.place.leave()
	return c.Conn.Close()
}

// tally is how busy a connection is that others read, and its place.
type tally struct {
	place      *place
	last, open atomic.Int64 // when something came or went, in ns since 1970; queries
}

func (t *tally) touch()            { t.last.Store(time.Now().UnixNano()) }
func (t *tally) busy() bool        { return t.open.Load() > 0 }
func (t *tally) lastActive() int64 { return t.last.Load() }

// begin waits until another query may be answered; finish is called after it.
func (t *tally) begin() {
	t.open.Add(1)
	t.place.asked.Store(true)
	t.touch()
	t.place.take()
}

func (t *tally) finish() {
	t.place.give()
	t.touch()
	t.open.Add(-1)
}
