package nft

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

var errMore = errors.New("more elements than are read")

// ReadElements reads a set of addresses from the kernel, in no order. It uses a socket of
// its own, so that no writer waits. The time grows with the square of the set's size: some
// 0.1 s of 65,000 elements, and 25 s of a million. After many elements were added, it may
// miss some for milliseconds without the kernel saying so: read first, load later.
func ReadElements(ref SetRef) ([]Element, error) {
	return ReadUpTo(ref, math.MaxInt, nil)
}

// ReadUpTo is ReadElements for sets of any size. Of one with more than most elements it
// returns, in a time that grows with their number, those of the known ones that are in it.
func ReadUpTo(ref SetRef, most int, known func() []netip.Addr) ([]Element, error) {
	r, err := openReader()
	if err != nil {
		return nil, err
	}
	found, err := r.elements(ref, most)
	r.close()
	if !errors.Is(err, errMore) {
		return exportElements(found), err
	}
	return LookUp(ref, known())
}

// LookUp returns those of the addresses that are in a set.
func LookUp(ref SetRef, addrs []netip.Addr) ([]Element, error) {
	r, err := openReader()
	if err != nil {
		return nil, err
	}
	defer r.close()
	var found []element
	for part := range slices.Chunk(addrs, maxLookups) {
		if found, err = r.lookup(ref, part, found); err != nil {
			return nil, fmt.Errorf("look up elements of set %s: %w", ref, err)
		}
	}
	return exportElements(found), nil
}

// elements dumps a set of at most that many elements, which no commit interrupts.
func (r *reader) elements(ref SetRef, most int) (elems []element, err error) {
	var b batch
	b.message(unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, ref.nfproto(), op{}, func(b *batch) {
		b.text(unix.NFTA_SET_ELEM_LIST_TABLE, ref.Table)
		b.text(unix.NFTA_SET_ELEM_LIST_SET, ref.Name)
	})
	err = r.ask(&b, func(m message) error {
		if e, ok := parseEvent(unix.NFT_MSG_NEWSETELEM, m.data); ok {
			elems = append(elems, e.elems...)
		}
		if len(elems) > most {
			return errMore
		}
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, ErrNoSet
	}
	if err != nil {
		return nil, fmt.Errorf("read elements of set %s: %w", ref, err)
	}
	return elems, nil
}

// maxLookups bounds what is asked for at once: the answers must fit into the socket's buffer.
const maxLookups = 128

// lookup asks for addresses one by one, and adds those that are in the set.
func (r *reader) lookup(ref SetRef, addrs []netip.Addr, found []element) ([]element, error) {
	var b batch
	for _, a := range addrs {
		b.message(unix.NFT_MSG_GETSETELEM, 0, ref.nfproto(), op{}, func(b *batch) {
			b.text(unix.NFTA_SET_ELEM_LIST_TABLE, ref.Table)
			b.text(unix.NFTA_SET_ELEM_LIST_SET, ref.Name)
			list := b.open(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
			b.element(&element{key: a})
			b.shut(list)
		})
	}
	first := r.seq + 1
	r.seq += uint32(len(addrs))
	b.number(first)
	if err := r.Send(b.buf); err != nil {
		return nil, err
	}
	for left := len(addrs); left > 0; {
		msgs, err := r.receive()
		if err != nil {
			return nil, err
		}
		for m, seq := range msgs {
			if seq-first >= uint32(len(addrs)) {
				continue // of others
			}
			left--
			if m.typ == unix.NLMSG_ERROR {
				if errno := m.errno(); errno != 0 && errno != unix.ENOENT {
					return nil, errno
				}
			} else if e, ok := parseEvent(unix.NFT_MSG_NEWSETELEM, m.data); ok {
				found = append(found, e.elems...)
			}
		}
	}
	return found, nil
}
