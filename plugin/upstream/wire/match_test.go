package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const plainUDP = UDP | EDNS | Large

// FuzzMatch: only a reply to our own query is Accepted.
func FuzzMatch(f *testing.F) {
	q := Query{Question: dns.Question{Name: "Victim.Example.ORG.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}
	packed, err := q.Pack(TCP|EDNS, Cookie{}, false)
	if err != nil {
		f.Fatal(err)
	}
	honest, err := replyTo(new(dns.Msg).SetQuestion(q.Name, q.Qtype)).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(honest, false)
	f.Add(bytes.ToLower(honest), true)
	f.Add(honest[:12], false)
	f.Add([]byte{0, 0, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0}, false)
	f.Add(packed.Msg(), false)
	f.Fuzz(func(t *testing.T, reply []byte, anyCase bool) {
		before := bytes.Clone(reply)
		v := Match(packed, reply, anyCase)
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
		bare := m.Response && m.Opcode == dns.OpcodeQuery && len(m.Question)+len(m.Answer)+len(m.Ns) == 0 && isError(int(reply[3]&0xf))
		switch {
		case v == Accepted && !same && !(anyCase && folded) && !bare:
			t.Fatalf("Accepted:\n%v", m)
		case v == WrongCase && (same || !folded):
			t.Fatalf("called a matter of case:\n%v", m)
		case same && v != Accepted && !compressed(reply):
			t.Fatalf("%s:\n%v", v, m)
		}
	})
}

// compressed reports a question section whose name is a pointer into the header, which no
// resolver sends and we do not accept.
func compressed(b []byte) bool {
	for i := HeaderLen; i < len(b) && b[i] != 0; i += int(b[i]) + 1 {
		if b[i]&0xc0 != 0 {
			return true
		}
	}
	return false
}

// Names that are odd but legal come out as they went in, and padding fills blocks.
func TestPack(t *testing.T) {
	for _, name := range []string{".", "example.org.", "MiXed.example.org.", `a\.b.example.org.`, `\000\255.example.org.`, strings.Repeat("a.", 127)} {
		for _, padded := range []bool{false, true} {
			q := Query{Question: dns.Question{Name: name, Qtype: dns.TypeHTTPS, Qclass: dns.ClassINET}, CD: true, DO: true}
			p, err := q.Pack(TCP|EDNS, Cookie{}, padded)
			if err != nil {
				t.Fatal(name, err)
			}
			m := new(dns.Msg)
			if err := m.Unpack(p.Msg()); err != nil {
				t.Fatal(name, err)
			}
			if m.Question[0] != q.Question || !m.RecursionDesired || !m.CheckingDisabled || !m.IsEdns0().Do() || m.Response {
				t.Errorf("%s became\n%v", name, m)
			}
			if n := len(p.Msg()); int(binary.BigEndian.Uint16(p.Framed)) != n || padded && n%padBlock != 0 {
				t.Errorf("%s: %d bytes", name, n)
			}
			if v := Match(p, asReply(p.Msg()), false); v != Accepted {
				t.Errorf("%s: %s", name, v)
			}
		}
	}
	if _, err := (Query{Question: dns.Question{Name: strings.Repeat("a", 64) + "."}}).Pack(plainUDP, Cookie{}, false); err == nil {
		t.Error("a label of 64 bytes was packed")
	}
}

func asReply(b []byte) []byte {
	b = bytes.Clone(b)
	b[2] |= 0x80
	return b
}

// BenchmarkMatch measures the check of a reply before it is handed to its query.
func BenchmarkMatch(b *testing.B) {
	q, err := Query{Question: dns.Question{Name: "Www.Example.ORG.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}.Pack(plainUDP, Cookie{}, false)
	if err != nil {
		b.Fatal(err)
	}
	reply := asReply(q.Msg())
	b.ReportAllocs()
	for b.Loop() {
		if Match(q, reply, false) != Accepted {
			b.Fatal("not Accepted")
		}
	}
}

func replyTo(r *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"a"}}}
	return m
}
