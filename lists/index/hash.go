package index

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// seed makes the hashes of one index unpredictable.
//
// Names are stored as 64-bit hashes, not as text, which is why an entry takes 11 bytes. An
// unlisted name matches when its hash or that of a name above it is in the table by chance.
// With ten million entries and four labels the probability is 4 * 10^7 / 2^64, one in
// 4 * 10^11 different names; that two entries of such a list collide, 10^14 / 2^65, one in
// 300,000 builds. Each installation draws its own seed (from the runtime's ChaCha8) and
// stores it, if at all, readable by the owner only: a name that collides cannot be computed.
//
// A name is hashed label by label from the right: one pass over a name yields the hashes of
// all names above it.
type seed [2]uint64

func newSeed() seed { return seed{rand.Uint64(), rand.Uint64()} }

// label returns the hash of the name that the label b[start:end] and the name whose hash is
// h make. b must be readable for eight bytes after end.
func (s *seed) label(h uint64, b *folded, start, end int) uint64 {
	i := start
	for ; i+8 <= end; i += 8 {
		h = fold128(h^s[0], binary.LittleEndian.Uint64(b.b[i:i+8])^s[1])
	}
	// The last word holds at most seven bytes; its top byte is the label's length,
	// so that labels cannot run into each other.
	rest := uint(end-i) * 8
	tail := binary.LittleEndian.Uint64(b.b[i:i+8])&(1<<rest-1) | uint64(end-start)<<56
	return fold128(h^s[0], tail^s[1])
}

// fold128 multiplies and folds the 128-bit product, as wyhash does.
func fold128(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// name hashes a name. It returns false if a label is empty.
func (s *seed) name(b *folded) (h uint64, ok bool) {
	for end := b.n; ; {
		start := b.labelStart(end)
		if start == end {
			return 0, false
		}
		h = s.label(h, b, start, end)
		if start == 0 {
			return h, true
		}
		end = start - 1
	}
}
