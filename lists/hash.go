package lists

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// Names are kept as 64-bit hashes, not as text: that is what makes a rule cost 11
// bytes. An unlisted name is taken for a listed one when a hash of it or of a name
// above it is in the table by chance. With ten million entries and four labels that
// is 4 * 10^7 / 2^64, once in 4 * 10^11 different names; that two entries of such a
// list fall together, 10^14 / 2^65, once in 300,000 builds. Each installation
// draws its own seed (from the runtime's ChaCha8) and keeps it, if at all, where only
// the owner reads, so nobody can compute a name that collides.
//
// A name's hash is made label by label from the right, so that one pass over a name
// gives the hashes of all names above it.
type seed [2]uint64

func newSeed() seed { return seed{rand.Uint64(), rand.Uint64()} }

// label adds the label b[start:end] on the left of the name whose hash is h. b must
// be readable for eight bytes behind end.
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

// name hashes a whole name; false says that it has an empty label.
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
