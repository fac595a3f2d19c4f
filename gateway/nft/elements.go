package nft

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Element is an address in a set.
type Element struct {
	Addr netip.Addr
	Left time.Duration // until it expires; 0: it is permanent
}

// Op says what a Change does.
type Op byte

const (
	// Put adds elements, and gives those that are there the new time.
	Put Op = iota
	// Add adds elements that are not there. Those that are may keep their time.
	Add
	// Take deletes elements, whether they are there or not.
	Take
	// Delete deletes elements. One that is not there fails the transaction.
	Delete
)

// Change is what a transaction does to a set of addresses with timeouts. An address must
// not be in two changes of a transaction: the kernel refuses many (EBUSY).
type Change struct {
	Set   SetRef
	Op    Op
	Elems []Element
}

// Commit makes changes of sets in one transaction and returns when the kernel has
// acknowledged it. Sets of our own table are changed in its replica, too. An error is a
// *Refusal, after which nothing has changed, or wraps ErrBroken.
func (c *Conn) Commit(changes []Change) error {
	b := c.begin()
	for i := range changes {
		change := &changes[i]
		for part := range slices.Chunk(change.Elems, maxPerMessage) {
			c.change(b, change.Set, change.Op, part)
			if replica, ok := c.Replica(change.Set); ok {
				c.change(b, replica, change.Op, part)
			}
		}
	}
	err := c.sock.transact(b)
	var refused *Refusal
	if errors.As(err, &refused) && refused.Set.Table == replicaOf(c.table) {
		refused.Set.Table = c.table // which is all that callers know of
	}
	return err
}

// change adds messages about up to maxPerMessage elements. Kernels before 6.12 ignore an
// addition of what is there; so the element is deleted and added again in the same
// transaction, which no packet can see. The first addition is for the deletion: of an
// element that has just expired it would fail (ENOENT).
func (c *Conn) change(b *batch, set SetRef, op Op, part []Element) {
	elems := c.elems[:0]
	for _, e := range part {
		el := element{key: e.Addr}
		switch op {
		case Put, Add:
			// The kernel takes no time at all for an element that stays.
			el.timeout = max(e.Left, time.Millisecond)
		case Take:
			el.timeout = time.Second
		}
		if op == Put && c.features.Update {
			el.expires = el.timeout
		}
		elems = append(elems, el)
	}
	c.elems = elems
	if op != Delete {
		b.elements(unix.NFT_MSG_NEWSETELEM, set, elems)
	}
	if op == Take || op == Delete || op == Put && !c.features.Update {
		b.elements(unix.NFT_MSG_DELSETELEM, set, elems)
	}
	if op == Put && !c.features.Update {
		b.elements(unix.NFT_MSG_NEWSETELEM, set, elems)
	}
}

func exportElements(elems []element) []Element {
	out := make([]Element, len(elems))
	for i, e := range elems {
		out[i] = Element{Addr: e.key.Unmap(), Left: e.left()}
	}
	return out
}

// left is what remains of an element's time; 0 of a permanent one. Events of elements
// that were just added carry the timeout alone.
func (e *element) left() time.Duration {
	if e.expires > 0 {
		return e.expires
	}
	return e.timeout
}

// ReadLearnable checks that addresses can be learned into a set, and returns how many
// fit: 0 is without a limit.
func ReadLearnable(ref SetRef) (size int, err error) {
	r, err := openReader()
	if err != nil {
		return 0, err
	}
	defer r.close()
	s, err := r.set(ref)
	if err != nil {
		return 0, err
	}
	return s.size, s.learnable(s.family())
}
