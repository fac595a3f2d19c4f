package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// streams is a TCP server whose connections a test scripts.
type streams struct {
	ln    net.Listener
	conns atomic.Int64
}

func (s *streams) String() string { return "tcp://" + s.ln.Addr().String() }

func listenStreams(t testing.TB, each func(net.Conn)) *streams {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &streams{ln: ln}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { defer c.Close(); each(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return s
}

func readQuestion(in io.Reader) (*dns.Msg, error) {
	var length [2]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, int(length[0])<<8|int(length[1]))
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	return m, m.Unpack(b)
}

func writeReply(w io.Writer, r *dns.Msg, addr string) error {
	b, err := replyTo(r, addr).Pack()
	if err != nil {
		return err
	}
	_, err = w.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
	return err
}

// Many queries on one connection, answered in the opposite order and in crumbs.
func TestPipelinedOutOfOrder(t *testing.T) {
	const queries = streamShare
	s := listenStreams(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		var asked []*dns.Msg
		for len(asked) < queries {
			m, err := readQuestion(in)
			if err != nil {
				return
			}
			asked = append(asked, m)
		}
		for i := range asked {
			var b strings.Builder
			writeReply(&b, asked[queries-1-i], fmt.Sprintf("192.0.2.%d", queries-1-i))
			for _, crumb := range []string{b.String()[:1], b.String()[1:9], b.String()[9:]} {
				if _, err := c.Write([]byte(crumb)); err != nil {
					return
				}
			}
		}
		io.Copy(io.Discard, c)
	})
	l := forwarder(t, func(o *options) { o.timeout = 2 * time.Second }, s.String())
	var mu sync.Mutex
	got := map[string]string{}
	var wg sync.WaitGroup
	for i := range queries {
		wg.Go(func() {
			name := fmt.Sprintf("n%d.example.org.", i)
			m := l.send(t, ask(name, dns.TypeA))
			mu.Lock()
			defer mu.Unlock()
			got[addrOf(m)] = name
			if len(m.Answer) != 1 || m.Answer[0].Header().Name != name {
				t.Errorf("%s was given %v", name, m.Answer)
			}
		})
	}
	wg.Wait()
	if len(got) != queries || s.conns.Load() != 1 {
		t.Errorf("%d answers over %d connections, want %d over 1", len(got), s.conns.Load(), queries)
	}
}

// A server that closes after each answer, as RFC 1035 allows: every query is answered, alone
// or in a crowd, and after a crowd connections are used serially.
func TestServerThatClosesAfterEachAnswer(t *testing.T) {
	s := listenStreams(t, func(c net.Conn) {
		if m, err := readQuestion(c); err == nil {
			time.Sleep(5 * time.Millisecond) // the others of the crowd are written meanwhile
			writeReply(c, m, "192.0.2.1")
		}
	})
	l := forwarder(t, nil, s.String())
	for i := range 5 {
		l.mustAsk(t, fmt.Sprintf("alone%d.example.org.", i), "192.0.2.1")
	}
	for round := range 3 {
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() { l.wantAddr(t, fmt.Sprintf("crowd%d-%d.example.org.", round, i), "192.0.2.1") })
		}
		wg.Wait()
	}
	if !l.targets().resolvers[0].tcp.serial() {
		t.Error("the resolver is still sent crowds")
	}
}

// A server that closes idle connections is no failure: the next query reconnects.
func TestIdleConnectionClosedByServer(t *testing.T) {
	closed := make(chan struct{}, 16)
	s := listenStreams(t, func(c net.Conn) {
		m, err := readQuestion(c)
		if err != nil {
			return
		}
		writeReply(c, m, "192.0.2.1")
		time.Sleep(30 * time.Millisecond)
		c.Close()
		closed <- struct{}{}
	})
	l := forwarder(t, nil, s.String())
	for range 3 {
		l.mustAsk(t, "a.example.org.", "192.0.2.1")
		<-closed
	}
	if l.targets().resolvers[0].health.fails.Load() != 0 {
		t.Error("counted as a failure")
	}
}

// We close what is idle ourselves, of both kinds.
func TestIdleSocketsExpire(t *testing.T) {
	s := serve(t, answerWith("192.0.2.1"))
	l := forwarder(t, func(o *options) { o.expire = 50 * time.Millisecond }, s.String(), "tcp://"+s.String())
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	l.targets().resolvers[1].probeOnce()
	within(t, time.Second, "all sockets are closed", func() bool { return ours() == "" })
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
}

// A connection on which nothing is received any more is replaced: only the first query is
// sent on it.
func TestSilentConnectionIsReplaced(t *testing.T) {
	var n, late atomic.Int64
	s := listenStreams(t, func(c net.Conn) {
		if n.Add(1) == 1 {
			m, err := readQuestion(c)
			if err == nil {
				writeReply(c, m, "192.0.2.1")
			}
			for err == nil { // a box on the way has forgotten the connection
				if m, err = readQuestion(c); err == nil && strings.EqualFold(m.Question[0].Name, "c.example.org.") {
					late.Add(1)
				}
			}
			return
		}
		for {
			m, err := readQuestion(c)
			if err != nil {
				return
			}
			writeReply(c, m, "192.0.2.2")
		}
	})
	l := forwarder(t, func(o *options) { o.timeout, o.patience = time.Second, 0 }, s.String())
	l.mustAsk(t, "a.example.org.", "192.0.2.1")
	l.mustAsk(t, "b.example.org.", "192.0.2.2") // the second try
	l.mustAsk(t, "c.example.org.", "192.0.2.2")
	if late.Load() > 0 {
		t.Error("the first connection is used on")
	}
}
