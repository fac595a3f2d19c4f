package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/span"
	"golang.org/x/sys/unix"
)

// setState is a set that the kernel has.
type setState struct {
	name    string
	flags   uint32
	keyType uint32
	keyLen  uint32
	size    int
	timeout uint64
}

// set reads one set; ErrNoSet if it is not there.
func (r *reader) set(ref SetRef) (setState, error) {
	msgs, err := r.get(unix.NFT_MSG_GETSET, 0, ref.nfproto(), func(b *batch) {
		b.text(unix.NFTA_SET_TABLE, ref.Table)
		b.text(unix.NFTA_SET_NAME, ref.Name)
	})
	if errors.Is(err, unix.ENOENT) {
		return setState{}, ErrNoSet
	}
	if err != nil {
		return setState{}, fmt.Errorf("read set: %w", err)
	}
	if len(msgs) == 0 {
		return setState{}, ErrNoSet
	}
	return parseSet(msgs[0]), nil
}

// sets reads all sets of a table but anonymous ones, which belong to rules.
func (r *reader) sets(family byte, table string) ([]setState, error) {
	msgs, err := r.get(unix.NFT_MSG_GETSET, unix.NLM_F_DUMP, family, func(b *batch) { b.text(unix.NFTA_SET_TABLE, table) })
	if errors.Is(err, unix.ENOENT) {
		return nil, ErrNoSet
	}
	if err != nil {
		return nil, fmt.Errorf("read sets: %w", err)
	}
	var sets []setState
	for _, m := range msgs {
		if s := parseSet(m); s.flags&unix.NFT_SET_ANONYMOUS == 0 {
			sets = append(sets, s)
		}
	}
	return sets, nil
}

func parseSet(m message) (s setState) {
	for _, a := range payload(m) {
		switch a.typ {
		case unix.NFTA_SET_NAME:
			s.name = cString(a.data)
		case unix.NFTA_SET_FLAGS:
			s.flags = be32(a.data)
		case unix.NFTA_SET_KEY_TYPE:
			s.keyType = be32(a.data)
		case unix.NFTA_SET_KEY_LEN:
			s.keyLen = be32(a.data)
		case unix.NFTA_SET_TIMEOUT:
			s.timeout = be64(a.data)
		case unix.NFTA_SET_DESC:
			for _, d := range attrs(a.data) {
				if d.typ == unix.NFTA_SET_DESC_SIZE {
					s.size = int(be32(d.data))
				}
			}
		}
	}
	return s
}

// The numbers that nft(8) gives the types of keys (enum datatypes in datatype.h).
const (
	typeIPv4 = 7
	typeIPv6 = 8
)

func keyType(f gateway.Family) (typ, length uint32) {
	if f == gateway.V4 {
		return typeIPv4, 4
	}
	return typeIPv6, 16
}

// family is the address family of a set's keys, as far as it is one of addresses.
func (s setState) family() gateway.Family {
	if s.keyType == typeIPv6 {
		return gateway.V6
	}
	return gateway.V4
}

// learnable says what keeps addresses of a family from being learned into a set.
func (s setState) learnable(f gateway.Family) error {
	var problems []error
	if typ, length := keyType(f); s.keyType != typ || s.keyLen != length {
		problems = append(problems, fmt.Errorf("its type is not %s", typeName(f)))
	}
	if s.flags&unix.NFT_SET_MAP != 0 {
		problems = append(problems, errors.New("it is a map"))
	}
	if s.flags&unix.NFT_SET_TIMEOUT == 0 {
		problems = append(problems, errors.New("it has no `flags timeout`, without which elements cannot end"))
	}
	if s.flags&unix.NFT_SET_INTERVAL != 0 {
		problems = append(problems, errors.New("it has `flags interval`: single addresses need a set without"))
	}
	if s.flags&unix.NFT_SET_CONSTANT != 0 {
		problems = append(problems, errors.New("it has `flags constant`"))
	}
	return errors.Join(problems...)
}

// ranges puts the elements of an interval set together: each start lasts until
// the next element, or to the last address. Ends without a start (nft adds one at
// the first address) mean nothing.
func ranges(elems []element) []span.Range {
	slices.SortFunc(elems, func(a, b element) int {
		if c := a.key.Compare(b.key); c != 0 {
			return c
		}
		if a.end != b.end && a.end {
			return -1
		}
		return 1
	})
	var out []span.Range
	for i, e := range elems {
		switch {
		case e.end:
		case i+1 < len(elems):
			out = append(out, span.Range{From: e.key, To: elems[i+1].key.Prev()})
		default:
			out = append(out, span.Range{From: e.key, To: span.LastOf(e.key)})
		}
	}
	return out
}
