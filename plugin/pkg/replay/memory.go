// Package replay remembers answers as they were sent, and gives them again before a query is
// even unpacked. The handlers of the block are the one definition of what is answered: only
// what they gave from the cache is remembered, each of them says on which condition it would
// do the same again, and what it counts. In every doubt they are asked.
//
// An answer is given to the same query from another client, with the client's id, case of
// letters and size, and TTLs that count down. They never exceed the cache's, and may be a
// second less, because a TTL in whole seconds does not tell when it began.
package replay

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"sync/atomic"
	"time"
)

const (
	// MaxSize is that of the largest answer that is remembered, and the size that a client
	// is told: see package datagram.
	MaxSize = 1232
	// largest is the size from which CoreDNS compresses answers over IPv6.
	largest = 1220

	perBucket = 8
	buckets   = 1 << 11
)

// Memory holds the answers of one listener. It is bounded: of the answers that share a bucket,
// the one that ends first goes. The zero value is not usable.
type Memory struct {
	seed  maphash.Seed
	start time.Time
	table atomic.Pointer[[buckets]bucket] // made with the first answer
}

type bucket [perBucket]atomic.Pointer[entry]

// entry is an answer. It is immutable.
type entry struct {
	key    string
	wire   []byte
	survey survey
	at     time.Duration // when the query came, since the memory's start
	ends   time.Duration // when the TTL may be over
	epoch  uint64
	plan   plan
}

// Hit is an answer that is given again, as the handlers count it.
type Hit struct {
	V6   bool          // the client's family
	Took time.Duration // since the query was read
}

// plan is what the handlers of a block do for an answer.
type plan struct {
	checks []func(spent uint32) bool // whether a handler would pass the answer on, of whose TTL so much is spent
	counts []func(Hit)
}

// New returns an empty memory.
func New() *Memory { return &Memory{seed: maphash.MakeSeed(), start: time.Now()} }

// Now returns the time as Replay wants it.
func (m *Memory) Now() time.Duration { return time.Since(m.start) }

// lookup returns the slot and the entry of a query; nil where there is none.
func (m *Memory) lookup(q *plainQuery) (*atomic.Pointer[entry], *entry) {
	t := m.table.Load()
	if t == nil {
		return nil, nil
	}
	b := &t[maphash.Bytes(m.seed, q.key[:q.n])%buckets]
	for i := range b {
		if e := b[i].Load(); e != nil && e.key == string(q.key[:q.n]) {
			return &b[i], e
		}
	}
	return nil, nil
}

// replay writes the answer to a query into out, which has room for MaxSize bytes, and returns
// its length. It returns 0 where the handlers must be asked. It allocates nothing.
func (m *Memory) replay(q *plainQuery, query, out []byte, now time.Duration, epoch uint64, hit Hit) int {
	slot, e := m.lookup(q)
	if e == nil {
		return 0
	}
	if now >= e.ends || e.epoch != epoch {
		slot.CompareAndSwap(e, nil)
		return 0
	}
	if len(e.wire) > q.size() {
		return 0
	}
	spent := uint32((now-e.at)/time.Second) + 1
	for _, check := range e.plan.checks {
		if !check(spent) {
			slot.CompareAndSwap(e, nil)
			return 0
		}
	}
	n := copy(out, e.wire)
	copy(out[:2], query)
	copy(out[headerSize:q.end], query[headerSize:q.end])
	for _, at := range e.survey.ttls {
		binary.BigEndian.PutUint32(out[at:], e.survey.ttl-spent)
	}
	if at := e.survey.opt; at > 0 {
		binary.BigEndian.PutUint16(out[at+3:], min(q.class, MaxSize))
	}
	for _, count := range e.plan.counts {
		count(hit)
	}
	return n
}

// put remembers an answer: in place of an older one to the same query, of one that is over,
// or of the one that ends first.
func (m *Memory) put(e *entry) {
	t := m.table.Load()
	if t == nil {
		m.table.CompareAndSwap(nil, new([buckets]bucket))
		t = m.table.Load()
	}
	b := &t[maphash.String(m.seed, e.key)%buckets]
	slot, least := &b[0], time.Duration(math.MaxInt64)
	for i := range b {
		old := b[i].Load()
		if old != nil && old.key == e.key {
			slot = &b[i]
			break
		}
		ends := time.Duration(0)
		if old != nil && old.epoch == e.epoch {
			ends = old.ends
		}
		if ends < least {
			slot, least = &b[i], ends
		}
	}
	slot.Store(e)
}
