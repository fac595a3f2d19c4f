package upstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/framing"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// forger is a resolver that sends what script says before its own reply.
func forger(t *testing.T, script func(reply []byte, send func([]byte))) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			r := new(dns.Msg)
			if err := r.Unpack(buf[:n]); err != nil {
				t.Error(err)
				return
			}
			reply, err := replyTo(r, "203.0.113.66").Pack()
			if err != nil {
				t.Error(err)
				return
			}
			script(reply, func(b []byte) { pc.WriteTo(b, from) })
			honest, _ := replyTo(r, "192.0.2.1").Pack()
			pc.WriteTo(honest, from)
		}
	}()
	return pc.LocalAddr().String()
}

func TestForgedRepliesAreDropped(t *testing.T) {
	for _, tc := range []struct {
		reason wire.Verdict
		forge  func(b []byte) []byte
	}{
		{wire.UnknownID, func(b []byte) []byte { b[0] ^= 0x55; return b }},
		{wire.WrongCase, func(b []byte) []byte { b[13] ^= 0x20; return b }},            // Victim → victim
		{wire.WrongQuery, func(b []byte) []byte { b[14] ^= 0x01; return b }},           // another name
		{wire.WrongQuery, func(b []byte) []byte { b[12+20+1] = 28; return b }},         // another type
		{wire.WrongQuery, func(b []byte) []byte { b[5] = 2; return b }},                // two questions
		{wire.WrongQuery, func(b []byte) []byte { b[5] = 0; return b }},                // none, yet answers
		{wire.WrongQuery, func(b []byte) []byte { b[5] = 0; b[3] = 0; return b[:12] }}, // none, and no error
		{wire.WrongQuery, func(b []byte) []byte { return b[:20] }},                     // cut
		{wire.Malformed, func(b []byte) []byte { b[2] &^= 0x80; return b }},            // a query
		{wire.Malformed, func(b []byte) []byte { b[2] |= 0x28; return b }},             // an update
		{wire.Malformed, func(b []byte) []byte { return b[:7] }},                       // no header
		{wire.Malformed, func(b []byte) []byte { return nil }},                         // an empty datagram
	} {
		addr := forger(t, func(reply []byte, send func([]byte)) { send(tc.forge(bytes.Clone(reply))) })
		l := forwarder(t, nil, addr)
		m := mismatchCount.WithLabelValues("vpn", addr, string(tc.reason))
		l.mustAsk(t, "Victim.example.org.", "192.0.2.1")
		if n := valueOf(t, m); n != 1 {
			t.Errorf("%s: counted %v forged replies, want 1", tc.reason, n)
		}
	}
}

// A thousand guesses change nothing, where the resolver has no TCP either.
func TestFloodOfGuesses(t *testing.T) {
	addr := forger(t, func(reply []byte, send func([]byte)) {
		id := binary.BigEndian.Uint16(reply)
		for i := range uint16(1000) {
			guess := bytes.Clone(reply)
			binary.BigEndian.PutUint16(guess, id+1+i)
			send(guess)
		}
	})
	forwarder(t, impatient, addr).mustAsk(t, "Victim.example.org.", "192.0.2.1")
}

// Guesses of ids and of the case that arrive at the query's own port, as many as a forger likes:
// none is taken, also where one is right at last, and the query goes by TCP.
func TestFloodOfGuessesHasTheQueryGoByTCP(t *testing.T) {
	for _, tc := range []struct {
		what, reason string
		forge        func(reply []byte, i int)
	}{
		{"id", "mismatch", func(b []byte, i int) { binary.BigEndian.PutUint16(b, binary.BigEndian.Uint16(b)+uint16(i)) }},
		{"case", "case", func(b []byte, i int) { b[13+i%6] ^= 0x20 }},
		{"name", "mismatch", func(b []byte, i int) { b[13] ^= 1 }},
	} {
		for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
			s := serveOn(t, addr, func(w dns.ResponseWriter, r *dns.Msg) {
				if w.RemoteAddr().Network() == "tcp" {
					w.WriteMsg(replyTo(r, "192.0.2.1"))
					return
				}
				if strings.EqualFold(r.Question[0].Name, "warm.example.org.") {
					w.WriteMsg(replyTo(r, "192.0.2.1"))
					return
				}
				forged, _ := replyTo(r, "203.0.113.66").Pack()
				for i := range 200 {
					guess := bytes.Clone(forged)
					tc.forge(guess, i+1)
					w.Write(guess)
				}
				w.Write(forged)
			})
			l := forwarder(t, nil, s.String())
			l.mustAsk(t, "warm.example.org.", "192.0.2.1")
			l.mustAsk(t, "Victim.example.org.", "192.0.2.1")
			if n := valueOf(t, tcpRetryCount.WithLabelValues("vpn", s.String(), tc.reason)); n != 1 || s.tcp.Load() != 1 {
				t.Errorf("%s at %s: %v of %d queries over TCP because of the flood", tc.what, addr, n, s.tcp.Load())
			}
		}
	}
}

// The socket is connected: the kernel drops what comes from anywhere else, even
// from another port of the same address.
func TestAnotherSourceIsDropped(t *testing.T) {
	for _, from := range []string{"127.0.0.2:0", "127.0.0.1:0"} {
		other, err := net.ListenPacket("udp", from)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
			forged, _ := replyTo(r, "203.0.113.66").Pack()
			if _, err := other.WriteTo(forged, w.RemoteAddr()); err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Millisecond)
			w.WriteMsg(replyTo(r, "192.0.2.1"))
		})
		forwarder(t, nil, s.String()).mustAsk(t, "victim.example.org.", "192.0.2.1")
	}
}

// A resolver that folds the case is asked once more, from another port.
func TestResolverThatFoldsCase(t *testing.T) {
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		m := replyTo(r, "192.0.2.1")
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
		w.WriteMsg(m)
	})
	l := forwarder(t, nil, s.String())
	m := l.mustAsk(t, "CamelCase.example.org.", "192.0.2.1")
	if m.Question[0].Name != "CamelCase.example.org." || m.Answer[0].Header().Name != "CamelCase.example.org." {
		t.Errorf("to the client: %v", m)
	}
	if s.udp.Load() != 2 || s.tcp.Load() != 0 {
		t.Errorf("%d by udp, %d by tcp; want 2 and 0", s.udp.Load(), s.tcp.Load())
	}
	if a := s.all(); a[0].Id == a[1].Id || s.ports() != 2 {
		t.Error("the second query is no harder to forge than the first")
	}
	l.mustAsk(t, "Another.example.org.", "192.0.2.1")
	if s.udp.Load() != 3 {
		t.Error("it is not remembered")
	}
}

// A reply cut short without the TC bit is asked for again over TCP, and never served.
func TestCutReply(t *testing.T) {
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		b, _ := replyTo(r, "192.0.2.1").Pack()
		if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
			b = b[:len(b)-14]
		}
		w.Write(b)
	})
	forwarder(t, nil, s.String()).mustAsk(t, "a.example.org.", "192.0.2.1")
	if s.tcp.Load() != 1 {
		t.Errorf("%d by tcp, want 1", s.tcp.Load())
	}
}

func TestGarbageOverTCPIsNoAnswer(t *testing.T) {
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		b, _ := replyTo(r, "192.0.2.1").Pack()
		w.Write(b[:len(b)-14])
	})
	_, code, err := forwarder(t, nil, "tcp://"+s.String()).client(context.Background(), ask("a.example.org.", dns.TypeA))
	if code != dns.RcodeServerFailure || err == nil || !strings.Contains(err.Error(), "malformed reply") {
		t.Errorf("got %d, %v", code, err)
	}
}

// FuzzDeliver throws messages at a socket that has a query in flight.
func FuzzDeliver(f *testing.F) {
	f.Add([]byte{1, 2, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{})
	given := wire.Cookie{Client: [wire.ClientCookieLen]byte{1, 2, 3, 4, 5, 6, 7, 8}, Server: []byte("12345678")}
	q, err := wire.Query{Question: dns.Question{Name: "example.org.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}.Pack(wire.UDP|wire.EDNS, given, true)
	if err != nil {
		f.Fatal(err)
	}
	honest := new(dns.Msg)
	if err := honest.Unpack(q.Msg()); err != nil {
		f.Fatal(err)
	}
	honest.Response = true // with the cookie of the query
	reply, err := honest.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply)
	f.Fuzz(func(t *testing.T, msg []byte) {
		a, b := net.Pipe()
		defer b.Close()
		s := newSocket(a, framing.NewDatagrams(a), true, time.Minute)
		s.idle = time.AfterFunc(time.Minute, func() {})
		onMismatch := 0
		s.onMismatch = func(wire.Verdict) { onMismatch++ }
		mail := mailbox{wake: make(chan struct{}, 1)}
		p := &flight{mail: &mail, query: q, using: wire.UDP | wire.EDNS | wire.Cookies, cookie: given}
		if err := s.register(p); err != nil {
			t.Fatal(err)
		}
		if len(msg) >= 2 {
			binary.BigEndian.PutUint16(msg, p.id) // a forger who has guessed it
		}
		s.deliver(msg)
		events := mail.take(nil)
		if len(events) == 1 && events[0].odd == "" {
			r := events[0].msg
			if v := wire.Match(p.query, r, false); v != wire.Accepted || onMismatch != 0 {
				t.Fatalf("delivered %x: %s", r, v)
			}
			if !bytes.Contains(r, given.Client[:]) {
				t.Fatalf("delivered %x without the cookie", r)
			}
		} else if onMismatch != 1 {
			t.Fatal("neither delivered nor counted")
		}
		s.unregister(p)
		s.fail(net.ErrClosed)
	})
}
