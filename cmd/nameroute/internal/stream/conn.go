package stream

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// connQueries is how many queries of one connection may wait for their answers. Then
	// no more are read, and TCP's window tells the client to wait.
	connQueries = 64

	// readBuffer holds a usual query with its length. Each connection has one.
	readBuffer = 512

	// headerSize is that of a DNS message (RFC 1035 section 4.1.1). Nothing shorter can be
	// answered.
	headerSize = 12
)

var aLongTimeAgo = time.Unix(1, 0)

// conn is one connection of a client.
type conn struct {
	net     net.Conn // TLS or plain TCP
	front   *Front
	options Options
	place   *place

	slots  chan struct{} // one for each query that waits for its answer
	active atomic.Int64  // when the last query came or the last answer went, in ns since 1970

	reading sync.Mutex // of stopped, with the deadline
	stopped bool

	writing sync.Mutex
}

// serve serves one connection to its end.
func (f *Front) serve(raw net.Conn) {
	defer raw.Close()
	c := &conn{net: raw, front: f, options: f.server.Load().options, slots: make(chan struct{}, connQueries)}
	if c.options.TLS != nil {
		c.net = tls.Server(raw, c.options.TLS)
	}
	c.touch()
	if !f.add(c) {
		return
	}
	defer f.remove(c)
	if c.place = f.bounds.enter(raw.RemoteAddr(), c, raw.Close); c.place == nil {
		return
	}
	defer c.place.leave()
	if !c.handshake() {
		return
	}
	c.read()
	// A client that has closed only its side still gets its answers.
	for range connQueries {
		c.slots <- struct{}{}
	}
	c.net.Close() // with TLS's own goodbye
}

// handshake makes the TLS connection, where there is to be one.
func (c *conn) handshake() bool {
	t, ok := c.net.(*tls.Conn)
	if !ok {
		return true
	}
	until := time.Now().Add(c.options.ReadTimeout)
	c.readUntil(until)
	t.SetWriteDeadline(until)
	err := t.Handshake()
	c.touch()
	return err == nil
}

// read reads queries until the client is done, idle or wrong.
func (c *conn) read() {
	in := bufio.NewReaderSize(c.net, readBuffer)
	limit := c.options.ReadTimeout
	for n := 0; c.options.MaxQueries < 1 || n < c.options.MaxQueries; n++ {
		c.slots <- struct{}{}
		message, err := c.next(in, limit)
		if err != nil || len(message) < 2+headerSize {
			<-c.slots
			if err != nil {
				return
			}
			continue
		}
		limit = c.options.IdleTimeout
		c.place.take()
		q := newQuery(c, message)
		if !c.front.deliver(q.forServer()) {
			q.done()
			return
		}
	}
}

// next reads one query with its length. Only the wait for its first byte may take longer
// than the read timeout, and as long as answers are due.
func (c *conn) next(in *bufio.Reader, limit time.Duration) ([]byte, error) {
	for {
		until := time.Unix(0, c.active.Load()).Add(limit)
		if len(c.slots) > 1 { // one is for the query that is waited for
			until = time.Now().Add(limit)
		}
		c.readUntil(until)
		_, err := in.Peek(1)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.isStopped() {
			return nil, err
		}
		if len(c.slots) == 1 && time.Since(time.Unix(0, c.active.Load())) >= limit {
			return nil, err
		}
	}
	c.readUntil(time.Now().Add(c.options.ReadTimeout))
	c.place.asked.Store(true)
	c.touch()
	var length [2]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return nil, err
	}
	n := 2 + int(binary.BigEndian.Uint16(length[:]))
	message := make([]byte, n)
	copy(message, length[:])
	_, err := io.ReadFull(in, message[2:])
	return message, err
}

// readUntil sets the deadline of reads, except when no more is to be read.
func (c *conn) readUntil(t time.Time) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if !c.stopped {
		c.net.SetReadDeadline(t)
	}
}

// stopReading ends the reading of queries.
func (c *conn) stopReading() {
	c.reading.Lock()
	defer c.reading.Unlock()
	c.stopped = true
	c.net.SetReadDeadline(aLongTimeAgo)
}

func (c *conn) isStopped() bool {
	c.reading.Lock()
	defer c.reading.Unlock()
	return c.stopped
}

func (c *conn) touch() { c.active.Store(time.Now().UnixNano()) }

// busy reports whether queries wait for their answers. The reader holds a slot itself.
func (c *conn) busy() bool { return len(c.slots) > 1 }

// lastActive returns when the last query came or the last answer went.
func (c *conn) lastActive() int64 { return c.active.Load() }

// write sends one answer. A client that does not take it in time loses the connection.
func (c *conn) write(p []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.net.SetWriteDeadline(time.Now().Add(c.options.WriteTimeout))
	_, err := c.net.Write(p)
	if err != nil {
		c.net.Close()
	}
	c.touch()
	return err
}
