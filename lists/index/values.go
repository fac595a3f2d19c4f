package index

import (
	"encoding/binary"

	"github.com/nameroute/nameroute/lists/entry"
)

// planes is what one list says at one node: which planes the bit of the list is set in.
// There are three groups of planes: for the name itself, for the names below it as far as
// an entry is about both (Suffix), and for these alone (Below), which counts as longer.
type planes uint16

const (
	selfListed planes = 1 << iota
	selfAlways
	selfSpecific
	selfInsist
	groupPlanes = 4
	planeCount  = 3 * groupPlanes
)

func planesOf(e entry.Entry) planes {
	exception := e.Exception
	if exception == entry.Specific && (e.Kind == entry.Keyword || e.Kind == entry.Regexp) {
		exception = entry.Always // no name is longer than these
	}
	self := selfListed << exception
	switch e.Kind {
	case entry.Suffix:
		return self | self<<groupPlanes
	case entry.Below:
		return self << (2 * groupPlanes)
	default:
		return self
	}
}

// values is the table of what nodes say: for each value id, twelve bitsets over the lists.
// Equal nodes share an id; id 0 is of a node that says nothing.
type values struct {
	words int
	sets  []uint64
	ids   map[string]uint32 // only while building
	memo  map[step]uint32
	last  step
	next  uint32
}

// step adds what a list says to a value.
type step struct {
	from uint32
	list uint16
	what planes
}

func newValues(lists int) *values {
	words := (lists + 63) / 64
	v := &values{words: words, ids: map[string]uint32{}, memo: map[step]uint32{}}
	v.id(make([]uint64, planeCount*words))
	return v
}

// add returns the id of a value plus the planes of a list.
func (v *values) add(id uint32, list int, what planes) uint32 {
	s := step{id, uint16(list), what}
	if s == v.last { // most entries of a list are alike
		return v.next
	}
	to, ok := v.memo[s]
	if !ok {
		set := append([]uint64(nil), v.set(id)...)
		for p := range planeCount {
			if what>>p&1 != 0 {
				set[p*v.words+list/64] |= 1 << (list % 64)
			}
		}
		to = v.id(set)
		v.memo[s] = to
	}
	v.last, v.next = s, to
	return to
}

func (v *values) id(set []uint64) uint32 {
	key := make([]byte, 0, len(set)*8)
	for _, w := range set {
		key = binary.LittleEndian.AppendUint64(key, w)
	}
	id, ok := v.ids[string(key)]
	if !ok {
		id = uint32(len(v.ids))
		v.ids[string(key)] = id
		v.sets = append(v.sets, set...)
	}
	return id
}

func (v *values) set(id uint32) []uint64 {
	n := planeCount * v.words
	return v.sets[int(id)*n : int(id)*n+n]
}

// planes returns what one list says in a value.
func (v *values) planes(id uint32, list int) (what planes) {
	set := v.set(id)
	for p := range planeCount {
		what |= planes(set[p*v.words+list/64]>>(list%64)&1) << p
	}
	return what
}

// freeze releases what only building needs.
func (v *values) freeze() { v.ids, v.memo = nil, nil }
