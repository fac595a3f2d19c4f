package stream

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"
)

// query is one query of a connection, as a connection of its own: the server reads the
// query and then its end, and what it writes is the answer.
type query struct {
	conn    *conn
	message []byte // with its length before it
	offset  int
	wants   wants
	end     sync.Once
}

// tlsQuery also tells the server of TLS.
type tlsQuery struct{ *query }

func (q tlsQuery) ConnectionState() tls.ConnectionState {
	return q.conn.net.(*tls.Conn).ConnectionState()
}

func newQuery(c *conn, message []byte) *query {
	return &query{conn: c, message: message, wants: wantsOf(message[2:], c.options.TLS != nil)}
}

// forServer returns the query as the server sees it.
func (q *query) forServer() net.Conn {
	if q.conn.options.TLS != nil {
		return tlsQuery{q}
	}
	return q
}

func (q *query) Read(p []byte) (int, error) {
	if q.offset == len(q.message) {
		return 0, io.EOF
	}
	n := copy(p, q.message[q.offset:])
	q.offset += n
	return n, nil
}

// Write sends an answer, which the server writes at once with its length before it.
func (q *query) Write(p []byte) (int, error) {
	out := p
	if len(p) > 2+headerSize && int(binary.BigEndian.Uint16(p)) == len(p)-2 {
		if answer, changed := q.wants.give(p[2:], q.conn.options.IdleTimeout); changed {
			out = binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(answer)), uint16(len(answer)))
			out = append(out, answer...)
		}
	}
	if err := q.conn.write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close is the server's last word on the query. A server that ends just after it has
// accepted the query does not read it: the next one answers it.
func (q *query) Close() error {
	q.end.Do(func() {
		if q.offset == 0 {
			go func() {
				again := newQuery(q.conn, q.message)
				if !q.conn.front.deliver(again.forServer()) {
					q.done()
				}
			}()
			return
		}
		q.done()
	})
	return nil
}

// done makes room for another query.
func (q *query) done() {
	q.conn.touch()
	q.conn.place.give()
	<-q.conn.slots
}

func (q *query) LocalAddr() net.Addr  { return q.conn.net.LocalAddr() }
func (q *query) RemoteAddr() net.Addr { return q.conn.net.RemoteAddr() }

// The query is here already, and its answer has the connection's limits.
func (q *query) SetDeadline(time.Time) error      { return nil }
func (q *query) SetReadDeadline(time.Time) error  { return nil }
func (q *query) SetWriteDeadline(time.Time) error { return nil }
