package replay

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway/pkg/epoch"
)

// remembering is a memory with the answer to a query that came at the time 0.
type remembering struct {
	*Memory
	reader Reader
	out    [MaxSize]byte
}

func (r *remembering) batch(now time.Duration) Batch { return Batch{r.Memory, now, epoch.Now()} }

// record has an answer be given to a query by handlers that do what change says.
func (r *remembering) record(t testing.TB, q, answer *dns.Msg, change func(*Recording)) {
	t.Helper()
	b := r.batch(0)
	query := packed(t, q)
	if n := r.reader.Replay(b, query, r.out[:], false); n > 0 {
		t.Fatalf("%v is answered from memory", q.Question)
	}
	p := r.reader.Ask(b, query, net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 53}, nil)
	_, recording := Record(context.Background(), p.Addr())
	if recording == nil {
		return
	}
	p.Sent(packed(t, answer))
	change(recording)
	recording.Commit()
}

func (r *remembering) ask(t testing.TB, q *dns.Msg, now time.Duration) *dns.Msg {
	t.Helper()
	n := r.reader.Replay(r.batch(now), packed(t, q), r.out[:], false)
	if n == 0 {
		return nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(r.out[:n]); err != nil {
		t.Fatal(err)
	}
	return m
}

func packed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func query(name string) *dns.Msg { return new(dns.Msg).SetQuestion(name, dns.TypeA) }

func answer(t testing.TB, q *dns.Msg, records ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetReply(q)
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(opt.UDPSize(), opt.Do())
	}
	return m
}

func nothing(*Recording) {}

func TestReplay(t *testing.T) {
	r := &remembering{Memory: New()}
	q := query("www.example.").SetEdns0(1232, true)
	r.record(t, q, answer(t, q, "www.example. 60 IN A 192.0.2.1", "www.example. 60 IN A 192.0.2.2"), nothing)

	same := query("wWw.eXample.").SetEdns0(700, true)
	m := r.ask(t, same, 10*time.Second+500*time.Millisecond)
	if m == nil || m.Id != same.Id || m.Question[0].Name != "wWw.eXample." || len(m.Answer) != 2 || m.Answer[0].Header().Name != "www.example." {
		t.Fatalf("answered %v", m)
	}
	if ttl := m.Answer[1].Header().Ttl; ttl != 49 {
		t.Errorf("TTL %d after 10.5 s of 60, want 49", ttl)
	}
	if opt := m.IsEdns0(); opt == nil || opt.UDPSize() != 700 || !opt.Do() {
		t.Errorf("OPT %v, want the client's", opt)
	}
	for what, other := range map[string]*dns.Msg{
		"without EDNS": query("www.example."), "without DO": query("www.example.").SetEdns0(1232, false),
		"another name": query("ww.example.").SetEdns0(1232, true),
	} {
		if m := r.ask(t, other, 0); m != nil {
			t.Errorf("%s: %v", what, m)
		}
	}
	if m := r.ask(t, q, 59*time.Second); m != nil {
		t.Errorf("answered with a TTL that may be over: %v", m)
	}
}

// An answer that is too large for a client is not cut to fit: the handlers know how.
func TestReplayFits(t *testing.T) {
	r := &remembering{Memory: New()}
	q := query("www.example.").SetEdns0(1232, false)
	var records []string
	for i := range 20 {
		records = append(records, fmt.Sprintf("www.example. 60 IN A 192.0.2.%d", i))
	}
	r.record(t, q, answer(t, q, records...), nothing)
	if r.ask(t, query("www.example.").SetEdns0(1000, false), 0) == nil {
		t.Error("not answered")
	}
	if m := r.ask(t, query("www.example.").SetEdns0(512, false), 0); m != nil {
		t.Errorf("%d bytes for a client of 512", m.Len())
	}
}

func TestReplayConditions(t *testing.T) {
	r := &remembering{Memory: New()}
	holds, counted := true, 0
	q := query("www.example.")
	record := func() {
		r.record(t, q, answer(t, q, "www.example. 60 IN A 192.0.2.1"), func(rec *Recording) {
			rec.Check(func(spent uint32) bool { return holds && spent == 1 })
			rec.Count(func(Hit) { counted++ })
		})
	}
	record()
	if r.ask(t, q, 0) == nil || counted != 1 {
		t.Errorf("counted %d times", counted)
	}
	holds = false
	if r.ask(t, q, 0) != nil || counted != 1 {
		t.Error("answered although a handler would not")
	}
	holds = true
	if r.ask(t, q, 0) != nil {
		t.Error("a refused answer is there again")
	}
	record()
	epoch.Advance()
	if r.ask(t, q, 0) != nil {
		t.Error("answered after a change")
	}
}

// An answer to a query from before a change is not remembered for after it.
func TestReplayOfBeforeAChange(t *testing.T) {
	r := &remembering{Memory: New()}
	q := query("www.example.")
	r.record(t, q, answer(t, q, "www.example. 60 IN A 192.0.2.1"), func(*Recording) { epoch.Advance() })
	if r.ask(t, q, 0) != nil {
		t.Error("answered")
	}
}

func TestNotRemembered(t *testing.T) {
	plain := query("www.example.")
	for what, c := range map[string]struct {
		q, a   *dns.Msg
		change func(*Recording)
	}{
		"refused by a handler": {plain, answer(t, plain, "www.example. 60 IN A 192.0.2.1"), (*Recording).Refuse},
		"SERVFAIL":             {plain, new(dns.Msg).SetRcode(plain, dns.RcodeServerFailure), nothing},
		"TC": {plain, func() *dns.Msg {
			m := answer(t, plain, "www.example. 60 IN A 192.0.2.1")
			m.Truncated = true
			return m
		}(), nothing},
		"nothing to count down": {plain, answer(t, plain), nothing},
		"TTL 1":                 {plain, answer(t, plain, "www.example. 1 IN A 192.0.2.1"), nothing},
		"TTLs that differ":      {plain, answer(t, plain, "www.example. 60 IN A 192.0.2.1", "www.example. 61 IN A 192.0.2.2"), nothing},
		"compressed": {plain, func() *dns.Msg {
			m := answer(t, plain, "www.example. 60 IN CNAME a.example.")
			m.Compress = true
			return m
		}(), nothing},
		"an extended error": {query("www.example.").SetEdns0(1232, false), func() *dns.Msg {
			m := answer(t, query("www.example.").SetEdns0(1232, false), "www.example. 60 IN A 192.0.2.1")
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: 3}}
			return m
		}(), nothing},
		"large":           {query("www.example.").SetEdns0(1232, false), answer(t, query("www.example.").SetEdns0(1232, false), "www.example. 60 IN TXT "+strings.Repeat(`"`+strings.Repeat("a", 250)+`" `, 5)), nothing},
		"an unknown type": {plain, answer(t, plain, `www.example. 60 IN TYPE65500 \# 1 00`), nothing},
	} {
		r := &remembering{Memory: New()}
		r.record(t, c.q, c.a, c.change)
		if m := r.ask(t, c.q, 0); m != nil {
			t.Errorf("%s: answered %v", what, m)
		}
	}
}

// Many names take a bounded room, and the newest are there.
func TestMemoryIsBounded(t *testing.T) {
	r := &remembering{Memory: New()}
	for i := range 4 * buckets * perBucket {
		q := query(fmt.Sprintf("h%d.example.", i))
		r.record(t, q, answer(t, q, fmt.Sprintf("h%d.example. %d IN A 192.0.2.1", i, 60+i)), nothing)
	}
	n, last := 0, 0
	for i := range 4 * buckets * perBucket {
		if r.ask(t, query(fmt.Sprintf("h%d.example.", i)), 0) != nil {
			n++
			if i >= 3*buckets*perBucket {
				last++
			}
		}
	}
	if n == 0 || n > buckets*perBucket || last < n*3/4 {
		t.Errorf("%d answers are there, %d of them the newest", n, last)
	}
}

// An answer from memory costs no allocation.
func TestReplayAllocatesNothing(t *testing.T) {
	r := &remembering{Memory: New()}
	q := query("www.example.").SetEdns0(1232, false)
	r.record(t, q, answer(t, q, "www.example. 60 IN A 192.0.2.1"), func(rec *Recording) {
		rec.Check(func(uint32) bool { return true })
		rec.Count(func(Hit) {})
	})
	b, wire := r.batch(0), packed(t, q)
	if n := testing.AllocsPerRun(100, func() {
		if r.reader.Replay(b, wire, r.out[:], false) == 0 {
			t.Fatal("not answered")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is no plain query is left to the handlers, whatever it is, and what is one is read as
// package dns reads it.
func FuzzReplay(f *testing.F) {
	f.Add(packed(f, query("www.example.")))
	f.Add(packed(f, query("www.example.").SetEdns0(1232, true)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var q plainQuery
		if !q.parse(b) {
			return
		}
		m := new(dns.Msg)
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		opt := m.IsEdns0()
		if len(m.Question) != 1 || m.Response || m.Opcode != 0 || m.Zero || len(m.Answer)+len(m.Ns) > 0 || m.Question[0].Qtype != q.qtype ||
			m.RecursionDesired != (q.flags&flagRD != 0) || m.AuthenticatedData != (q.flags&flagAD != 0) || m.CheckingDisabled != (q.flags&flagCD != 0) ||
			(opt != nil) != (q.flags&flagEDNS != 0) || opt != nil && (opt.UDPSize() != q.class || opt.Do() != (q.flags&flagDO != 0) || opt.Version() != 0 || len(opt.Option) > 0) {
			t.Fatalf("%v is read as flags %b, type %d", m, q.flags, q.qtype)
		}
	})
}

// FuzzAnswer: no answer, however odd, is given again with other bytes than it had.
func FuzzAnswer(f *testing.F) {
	q := query("www.example.")
	f.Add(packed(f, answer(f, q, "www.example. 60 IN A 192.0.2.1", "www.example. 60 IN MX 1 mx.example.")))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s survey
		var of plainQuery
		if !of.parse(packed(t, q)) || !s.read(b, &of) {
			return
		}
		for _, at := range s.ttls {
			if int(at)+4 > len(b) || int(at) < of.end {
				t.Fatalf("a TTL at %d of %d bytes", at, len(b))
			}
		}
		if s.opt != 0 {
			t.Fatal("OPT for a client without EDNS")
		}
	})
}

func BenchmarkReplay(b *testing.B) {
	r := &remembering{Memory: New()}
	q := query("www.example.").SetEdns0(1232, false)
	r.record(b, q, answer(b, q, "www.example. 60 IN A 192.0.2.1", "www.example. 60 IN A 192.0.2.2"), nothing)
	batch, wire := r.batch(0), packed(b, q)
	b.ReportAllocs()
	for b.Loop() {
		if r.reader.Replay(batch, wire, r.out[:], false) == 0 {
			b.Fatal("not answered")
		}
	}
}
