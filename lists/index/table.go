package index

import (
	"math/bits"
	"runtime"

	"github.com/nameroute/nameroute/gateway/pkg/pace"
)

const (
	bucketSize = 8    // hashes in a bucket: one cache line of 64 bytes
	load       = 0.82 // at most this fraction of the slots is used: 9 bytes / 0.82 = 11 a name
)

// table maps the hashes of names to value ids, by open addressing over buckets. A full
// bucket overflows into the next. The hash 0 marks an empty slot.
type table struct {
	hashes  []uint64
	buckets uint64
	n       int
	wide    []uint32 // values while the table is built
	narrow  []byte   // values afterwards, width bytes each, little-endian
	width   int
}

func newTable(n int) *table {
	buckets := uint64(float64(n)/(load*bucketSize)) + 1
	return &table{
		buckets: buckets,
		hashes:  make([]uint64, buckets*bucketSize),
		wide:    make([]uint32, buckets*bucketSize),
	}
}

// find returns the slot of a hash, or -1.
func (t *table) find(h uint64) int {
	if h == 0 {
		h = 1
	}
	at, _ := bits.Mul64(h, t.buckets)
	for {
		b := (*[bucketSize]uint64)(t.hashes[at*bucketSize:])
		for i := range b {
			if b[i] == h {
				return int(at)*bucketSize + i
			}
		}
		if b[bucketSize-1] == 0 {
			return -1
		}
		if at++; at == t.buckets {
			at = 0
		}
	}
}

// prefetch loads the memory of these hashes all at once. Each find waits for its own before
// the next can begin.
func (t *table) prefetch(hashes []uint64) {
	var all uint64
	for _, h := range hashes {
		at, _ := bits.Mul64(h, t.buckets)
		slot := at * bucketSize
		all += t.hashes[slot] + uint64(t.narrow[slot*uint64(t.width)])
	}
	runtime.KeepAlive(all)
}

// slot returns the slot of a hash, a new one if it has none. There must be room.
func (t *table) slot(h uint64) int {
	if h == 0 {
		h = 1
	}
	at, _ := bits.Mul64(h, t.buckets)
	for i := at * bucketSize; ; {
		switch t.hashes[i] {
		case h:
			return int(i)
		case 0:
			t.hashes[i] = h
			t.n++
			return int(i)
		}
		if i++; i == uint64(len(t.hashes)) {
			i = 0
		}
	}
}

// shrunk returns the table at its proper size: duplicates have made it too large.
func (t *table) shrunk(p *pace.Pace) *table {
	to := newTable(t.n)
	if len(to.hashes) > len(t.hashes)*9/10 {
		return t
	}
	for i, h := range t.hashes {
		if p.At(i); h != 0 {
			to.wide[to.slot(h)] = t.wide[i]
		}
	}
	return to
}

// freeze stores the values in as few bytes as the highest of them needs.
func (t *table) freeze(highest uint32, p *pace.Pace) {
	t.width = max(1, (bits.Len32(highest)+7)/8)
	t.narrow = make([]byte, len(t.wide)*t.width)
	for i, v := range t.wide {
		p.At(i)
		for k := range t.width {
			t.narrow[i*t.width+k] = byte(v >> (8 * k))
		}
	}
	t.wide = nil
}

// value returns the value id of a slot of a frozen table.
func (t *table) value(slot int) uint32 {
	v := uint32(t.narrow[slot*t.width])
	for k := 1; k < t.width; k++ {
		v |= uint32(t.narrow[slot*t.width+k]) << (8 * k)
	}
	return v
}
