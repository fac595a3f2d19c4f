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
		reason verdict
		forge  func(b []byte) []byte
	}{
		{unknownID, func(b []byte) []byte { b[0] ^= 0x55; return b }},
		{wrongCase, func(b []byte) []byte { b[13] ^= 0x20; return b }},               // Victim → victim
		{wrongQuestion, func(b []byte) []byte { b[14] ^= 0x01; return b }},           // another name
		{wrongQuestion, func(b []byte) []byte { b[12+20+1] = 28; return b }},         // another type
		{wrongQuestion, func(b []byte) []byte { b[5] = 2; return b }},                // two questions
		{wrongQuestion, func(b []byte) []byte { b[5] = 0; return b }},                // none, yet answers
		{wrongQuestion, func(b []byte) []byte { b[5] = 0; b[3] = 0; return b[:12] }}, // none, and no error
		{wrongQuestion, func(b []byte) []byte { return b[:20] }},                     // cut
		{malformed, func(b []byte) []byte { b[2] &^= 0x80; return b }},               // a query
		{malformed, func(b []byte) []byte { b[2] |= 0x28; return b }},                // an update
		{malformed, func(b []byte) []byte { return b[:7] }},                          // no header
		{malformed, func(b []byte) []byte { return nil }},                            // an empty datagram
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

// A thousand guesses change nothing, and cost nothing but their counting.
func TestFloodOfGuesses(t *testing.T) {
	addr := forger(t, func(reply []byte, send func([]byte)) {
		id := binary.BigEndian.Uint16(reply)
		for i := range uint16(1000) {
			guess := bytes.Clone(reply)
			binary.BigEndian.PutUint16(guess, id+1+i)
			send(guess)
		}
	})
	forwarder(t, nil, addr).mustAsk(t, "Victim.example.org.", "192.0.2.1")
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

// A resolver that folds the case is asked over TCP, into which no reply can be injected.
func TestResolverThatFoldsCase(t *testing.T) {
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		m := replyTo(r, "192.0.2.1")
		m.Question[0].Name = strings.ToLower(m.Question[0].Name)
		w.WriteMsg(m)
	})
	l := forwarder(t, nil, s.String())
	start := time.Now()
	m := l.mustAsk(t, "CamelCase.example.org.", "192.0.2.1")
	if m.Question[0].Name != "CamelCase.example.org." {
		t.Errorf("question to the client: %v", m.Question)
	}
	if d := time.Since(start); s.udp.Load() != 1 || s.tcp.Load() != 1 || d > 3*caseGrace {
		t.Errorf("%d by udp, %d by tcp in %s; want 1 and 1 soon after %s", s.udp.Load(), s.tcp.Load(), d, caseGrace)
	}
	l.mustAsk(t, "lower.example.org.", "192.0.2.1")
	if s.tcp.Load() != 1 {
		t.Error("a name in lower case needs no TCP")
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

// FuzzMatch: only a reply to our own query is accepted.
func FuzzMatch(f *testing.F) {
	q := query{Question: dns.Question{Name: "Victim.Example.ORG.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}
	packed, err := q.pack(true, false)
	if err != nil {
		f.Fatal(err)
	}
	honest, err := replyTo(new(dns.Msg).SetQuestion(q.Name, q.Qtype), "192.0.2.1").Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(honest, false)
	f.Add(bytes.ToLower(honest), true)
	f.Add(honest[:12], false)
	f.Add([]byte{0, 0, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0}, false)
	f.Add(packed.msg(), false)
	f.Fuzz(func(t *testing.T, reply []byte, anyCase bool) {
		before := bytes.Clone(reply)
		v := match(packed, reply, anyCase)
		if !bytes.Equal(before, reply) {
			t.Fatal("the reply was changed")
		}
		m := new(dns.Msg)
		if m.Unpack(reply) != nil {
			return // whoever accepts it finds out when unpacking
		}
		same := m.Response && m.Opcode == dns.OpcodeQuery && len(m.Question) == 1 && m.Question[0] == q.Question
		folded := m.Response && m.Opcode == dns.OpcodeQuery && len(m.Question) == 1 &&
			strings.EqualFold(m.Question[0].Name, q.Name) && m.Question[0].Qtype == q.Qtype && m.Question[0].Qclass == q.Qclass
		bare := m.Response && len(reply) == headerLen && isError(m.Rcode)
		switch {
		case v == accepted && !same && !(anyCase && folded) && !bare:
			t.Fatalf("accepted:\n%v", m)
		case v == wrongCase && (same || !folded):
			t.Fatalf("judged a matter of case:\n%v", m)
		case same && v != accepted && !compressed(reply):
			t.Fatalf("%s:\n%v", v, m)
		}
	})
}

// compressed reports a question section whose name is a pointer into the header, which no
// resolver sends and we do not accept.
func compressed(b []byte) bool {
	for i := headerLen; i < len(b) && b[i] != 0; i += int(b[i]) + 1 {
		if b[i]&0xc0 != 0 {
			return true
		}
	}
	return false
}

// FuzzDeliver throws messages at a socket that has a query in flight.
func FuzzDeliver(f *testing.F) {
	f.Add([]byte{1, 2, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{})
	q, err := query{Question: dns.Question{Name: "example.org.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}.pack(true, true)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		a, b := net.Pipe()
		defer b.Close()
		s := newSocket(a, &datagrams{conn: a}, true, time.Minute)
		s.idle = time.AfterFunc(time.Minute, func() {})
		onMismatch := 0
		s.onMismatch = func(verdict) { onMismatch++ }
		p, id, err := s.register(q)
		if err != nil {
			t.Fatal(err)
		}
		if len(msg) >= 2 {
			binary.BigEndian.PutUint16(msg, id) // a forger who has guessed it
		}
		s.deliver(msg)
		select {
		case r := <-p.done:
			if v := match(p.query, r.msg, false); v != accepted || onMismatch != 0 {
				t.Fatalf("delivered %x: %s", r.msg, v)
			}
		default:
			if onMismatch != 1 {
				t.Fatal("neither delivered nor counted")
			}
		}
		s.unregister(id, p)
		s.fail(net.ErrClosed)
	})
}

// Names that are odd but legal come out as they went in, and padding fills blocks.
func TestPack(t *testing.T) {
	for _, name := range []string{".", "example.org.", "MiXed.example.org.", `a\.b.example.org.`, `\000\255.example.org.`, strings.Repeat("a.", 127)} {
		for _, padded := range []bool{false, true} {
			q := query{Question: dns.Question{Name: name, Qtype: dns.TypeHTTPS, Qclass: dns.ClassINET}, cd: true, do: true}
			p, err := q.pack(true, padded)
			if err != nil {
				t.Fatal(name, err)
			}
			m := new(dns.Msg)
			if err := m.Unpack(p.msg()); err != nil {
				t.Fatal(name, err)
			}
			if m.Question[0] != q.Question || !m.RecursionDesired || !m.CheckingDisabled || !m.IsEdns0().Do() || m.Response {
				t.Errorf("%s became\n%v", name, m)
			}
			if n := len(p.msg()); int(binary.BigEndian.Uint16(p.framed)) != n || padded && n%padBlock != 0 {
				t.Errorf("%s: %d bytes", name, n)
			}
			if v := match(p, asReply(p.msg()), false); v != accepted {
				t.Errorf("%s: %s", name, v)
			}
		}
	}
	if _, err := (query{Question: dns.Question{Name: strings.Repeat("a", 64) + "."}}).pack(true, false); err == nil {
		t.Error("a label of 64 bytes was packed")
	}
}

func asReply(b []byte) []byte {
	b = bytes.Clone(b)
	b[2] |= 0x80
	return b
}
