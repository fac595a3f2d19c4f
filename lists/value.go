package lists

import (
	"encoding/binary"

	"github.com/nameroute/nameroute/lists/entry"
)

// planes says what one list says at one node. A bit of each plane stands for a list.
// There are three groups of planes: for the name itself, for the names below it by
// what is said of both (Suffix), and for those by what is said of them alone (Below),
// which counts as longer.
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
		exception = entry.Always // these have no place among names, so none is longer
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

// values is the table of what nodes say: for each value id, twelve bitsets over the
// lists. Nodes that say the same share an id; id 0 says nothing.
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

// add returns the id of a value to which a list's planes are added.
func (v *values) add(id uint32, list int, what planes) uint32 {
	s := step{id, uint16(list), what}
	if s == v.last { // most entries of a list say the same
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

// of is what one list says in a value.
func (v *values) of(id uint32, list int) (what planes) {
	set := v.set(id)
	for p := range planeCount {
		what |= planes(set[p*v.words+list/64]>>(list%64)&1) << p
	}
	return what
}

// freeze drops what only building needs.
func (v *values) freeze() { v.ids, v.memo = nil, nil }
