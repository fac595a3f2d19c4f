package gateway

import (
	"fmt"
	"hash/fnv"
	"math/bits"
)

// Mask is the contiguous run of fwmark bits that nameroute uses. It never writes a bit
// outside the mask.
type Mask uint32

// Valid reports whether the mask is one run of at least two bits.
func (m Mask) Valid() bool {
	run := uint32(m) >> m.shift()
	return bits.OnesCount32(uint32(m)) >= 2 && run&(run+1) == 0
}

// Max returns the highest route number, which is that of wan.
func (m Mask) Max() int { return int(uint32(m) >> m.shift()) }

// Mark returns the mark of a route by its number.
func (m Mask) Mark(number int) Mark {
	return Mark{Value: uint32(number) << m.shift() & uint32(m), Mask: uint32(m)}
}

// Number returns the number of the route that has this mark.
func (m Mask) Number(value uint32) int { return int(value & uint32(m) >> m.shift()) }

func (m Mask) shift() int { return bits.TrailingZeros32(uint32(m)) }

// HashNumber derives a route's number, 1 to mask.Max()-1, from its name alone, so that
// editing the file never changes the mark of a live flow.
func HashNumber(name string, m Mask) int {
	h := fnv.New32a()
	h.Write([]byte(name)) // never fails
	return 1 + int(h.Sum32()%uint32(m.Max()-1))
}

// Mark is a value in some bits of the fwmark. The other bits belong to other programs.
type Mark struct {
	Value uint32
	Mask  uint32
}

// String prints the mark in the syntax of ip(8) and nft(8): 0x51000000/0x7f000000.
func (m Mark) String() string { return fmt.Sprintf("%#x/%#x", m.Value, m.Mask) }

// Apply sets the mark's bits in a fwmark and returns the result.
func (m Mark) Apply(old uint32) uint32 { return old&^m.Mask | m.Value }

// Labels of conntrack: the bit of a flow is the number of its route.
const (
	LocalLabel = 0   // of flows to local networks, see package firewall
	WANLabel   = 127 // of the WAN's flows, whatever the mask
)

// Matches reports whether a fwmark has this value in the mark's bits.
func (m Mark) Matches(fwmark uint32) bool { return fwmark&m.Mask == m.Value }
