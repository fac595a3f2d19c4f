package gateway

import (
	"fmt"
	"hash/fnv"
	"math/bits"
)

// Mask is the contiguous run of fwmark bits that are nameroute's own; nothing
// ever writes a bit outside it.
type Mask uint32

// Valid reports whether the mask is one run of at least two bits.
func (m Mask) Valid() bool {
	run := uint32(m) >> m.shift()
	return bits.OnesCount32(uint32(m)) >= 2 && run&(run+1) == 0
}

// Max is the highest route number that fits, which is wan's.
func (m Mask) Max() int { return int(uint32(m) >> m.shift()) }

// Mark places a route's number in the mask.
func (m Mask) Mark(number int) Mark {
	return Mark{Value: uint32(number) << m.shift() & uint32(m), Mask: uint32(m)}
}

// Number is the route number that a mark's value stands for.
func (m Mask) Number(value uint32) int { return int(value & uint32(m) >> m.shift()) }

func (m Mask) shift() int { return bits.TrailingZeros32(uint32(m)) }

// HashNumber is the number, 1 to mask.Max()-1, that a route has by its name alone,
// so that editing the file never moves the mark of a living flow.
func HashNumber(name string, m Mask) int {
	h := fnv.New32a()
	h.Write([]byte(name)) // never fails
	return 1 + int(h.Sum32()%uint32(m.Max()-1))
}

// Mark is a fwmark as value and mask; never the whole mark.
type Mark struct {
	Value uint32
	Mask  uint32
}

// String prints the mark as ip(8) and nft(8) take it: 0x51000000/0x7f000000.
func (m Mark) String() string { return fmt.Sprintf("%#x/%#x", m.Value, m.Mask) }

// Apply writes the mark's bits into an existing mark and leaves the others alone.
func (m Mark) Apply(old uint32) uint32 { return old&^m.Mask | m.Value }

// Matches reports whether a packet's whole mark carries this one.
func (m Mark) Matches(whole uint32) bool { return whole&m.Mask == m.Value }
