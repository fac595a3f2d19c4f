package replay

import (
	"context"
	"hash/maphash"
	"net"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway/pkg/epoch"
)

// Packet is a query that came over UDP, while the handlers answer it.
type Packet struct {
	from   net.UDPAddr // must be the first field: see PacketOf
	Query  []byte
	Source []byte // the control message that has the answer sent from where the query was sent to

	memory *Memory
	at     time.Duration
	epoch  uint64
	plain  bool // it may be remembered what is answered
	parsed plainQuery
	answer atomic.Pointer[[]byte] // as it was sent
}

// Reader parses the queries of one goroutine, and answers them from memory.
type Reader struct{ parsed plainQuery }

// Batch is what queries that were received together have in common.
type Batch struct {
	memory *Memory
	now    time.Duration
	epoch  uint64
}

// Begin begins a batch, once it is received.
func (m *Memory) Begin() Batch { return Batch{m, m.Now(), epoch.Now()} }

// Replay answers a query into out, which has room for MaxSize bytes. It returns the answer's
// length, or 0 where the handlers must be asked. It allocates nothing.
func (r *Reader) Replay(b Batch, query, out []byte, v6 bool) int {
	r.parsed.n = 0
	if !r.parsed.parse(query) {
		r.parsed.n = 0
		return 0
	}
	return b.memory.replay(&r.parsed, query, out, b.now, b.epoch, Hit{V6: v6, Took: b.memory.Now() - b.now})
}

// Ask returns the query that Replay has not answered, for the handlers. The query's bytes are
// copied.
func (r *Reader) Ask(b Batch, query []byte, from net.UDPAddr, source []byte) *Packet {
	p := &Packet{from: from, Query: append([]byte(nil), query...), memory: b.memory, at: b.now, epoch: b.epoch, plain: r.parsed.n > 0}
	p.Source = append(p.Source, source...)
	if p.plain {
		p.parsed = r.parsed
		asked.slot(&p.from).Store(p)
	}
	return p
}

// Addr returns the client's address, of which PacketOf finds the packet.
func (p *Packet) Addr() net.Addr { return &p.from }

// PacketOf returns the packet whose Addr is given.
func PacketOf(a net.Addr) *Packet { return (*Packet)(unsafe.Pointer(a.(*net.UDPAddr))) }

// Sent notes the answer's bytes.
func (p *Packet) Sent(answer []byte) {
	if p.plain {
		b := append([]byte(nil), answer...)
		p.answer.Store(&b)
	}
}

// asked finds the packet of a client's address as handlers see it, which may be of any other
// query, too. It is bounded: what does not fit is not remembered.
var asked = packets{seed: maphash.MakeSeed()}

type packets struct {
	seed  maphash.Seed
	slots [1024]atomic.Pointer[Packet]
}

func (p *packets) slot(a *net.UDPAddr) *atomic.Pointer[Packet] {
	return &p.slots[maphash.Comparable(p.seed, a)%uint64(len(p.slots))]
}

// take returns the packet that came from a client's address, or nil.
func (p *packets) take(a net.Addr) *Packet {
	from, ok := a.(*net.UDPAddr)
	if !ok {
		return nil
	}
	slot := p.slot(from)
	if found := slot.Load(); found != nil && &found.from == from && slot.CompareAndSwap(found, nil) {
		return found
	}
	return nil
}

// Recording is the query of a client whose answer may be remembered. Handlers find it in the
// context; the methods of a nil one do nothing.
type Recording struct {
	packet  *Packet
	refused atomic.Bool
	plan    plan
}

type key struct{}

// Record begins the recording of a client's query; nil where it is not to be remembered.
func Record(ctx context.Context, client net.Addr) (context.Context, *Recording) {
	p := asked.take(client)
	if p == nil {
		return ctx, nil
	}
	r := &Recording{packet: p}
	return context.WithValue(ctx, key{}, r), r
}

// Of returns the recording of a query, nil where there is none.
func Of(ctx context.Context) *Recording {
	r, _ := ctx.Value(key{}).(*Recording)
	return r
}

// Refuse has the answer not be remembered.
func (r *Recording) Refuse() {
	if r != nil {
		r.refused.Store(true)
	}
}

// Check adds what must hold for the answer to be given again, when so many seconds of its
// records' TTLs are spent. It is called for each of these queries: it takes no lock, and
// allocates nothing.
func (r *Recording) Check(f func(spent uint32) bool) {
	if r != nil {
		r.plan.checks = append(r.plan.checks, f)
	}
}

// Count adds what a handler counts each time that the answer is given again.
func (r *Recording) Count(f func(Hit)) {
	if r != nil {
		r.plan.counts = append(r.plan.counts, f)
	}
}

// Commit remembers the answer that was sent, unless it depends on more than the query.
func (r *Recording) Commit() {
	p := r.packet
	wire := p.answer.Load()
	if wire == nil || r.refused.Load() || len(*wire) > largest || len(*wire) > p.parsed.size() {
		return
	}
	e := &entry{key: string(p.parsed.key[:p.parsed.n]), wire: *wire, at: p.at, epoch: p.epoch, plan: r.plan}
	if !e.survey.read(e.wire, &p.parsed) || e.survey.ttl < 2 {
		return
	}
	e.ends = p.at + time.Duration(e.survey.ttl-1)*time.Second
	p.memory.put(e)
}

// TTL returns the TTL of the answer's records, and the sizes of query and answer without the
// OPT record of the latter, for those who count.
func (r *Recording) sizes() (query, answer int) {
	wire := r.packet.answer.Load()
	if wire == nil {
		return 0, 0
	}
	answer = len(*wire)
	if r.packet.parsed.flags&flagEDNS != 0 {
		answer -= optSize
	}
	return len(r.packet.Query), answer
}

// Below is the handler under the cache: what reaches it was not answered from there.
type Below struct{ Next plugin.Handler }

// Name implements plugin.Handler. It is no directive.
func (*Below) Name() string { return "replay" }

// ServeDNS implements plugin.Handler.
func (b *Below) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	Of(ctx).Refuse()
	return plugin.NextOrFailure("cache", b.Next, ctx, w, r)
}
