package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// maxPerMessage bounds the elements of one message: an attribute's length has 16
// bits, and an IPv6 element with both times takes 52 bytes of it. The kernel takes
// a length that wrapped without an error, and elements are lost.
const maxPerMessage = 1000

// batch is one transaction: messages between BATCH_BEGIN and BATCH_END, all of
// which take effect or none. google/nftables cannot send table flags, expirations
// or both in one transaction with the rest, so the messages are made here; the
// expressions of rules are that library's.
type batch struct {
	buf []byte
	ops []op // what each message between begin and end does
}

// op says what a message does, for errors.
type op struct {
	verb string
	name string
	set  SetRef // of messages about elements
}

func (o op) String() string { return o.verb + " " + o.name }

// newBatch starts a transaction, reusing the buffers of an old one.
func newBatch(old *batch) *batch {
	b := old
	if b == nil {
		b = &batch{}
	}
	b.buf, b.ops = b.buf[:0], b.ops[:0]
	b.header(unix.NFNL_MSG_BATCH_BEGIN, unix.NLM_F_REQUEST, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	return b
}

func (b *batch) empty() bool { return len(b.ops) == 0 }

// finish ends the transaction. Only the last message asks for an acknowledgement:
// the kernel sends it after the commit, and errors it sends unasked.
func (b *batch) finish() {
	if n := len(b.ops); n > 0 {
		at, left := 0, n // skip the messages before the last operation
		for ; left > 0; left-- {
			at += align(int(binary.NativeEndian.Uint32(b.buf[at:])))
		}
		flags := binary.NativeEndian.Uint16(b.buf[at+6:])
		binary.NativeEndian.PutUint16(b.buf[at+6:], flags|unix.NLM_F_ACK)
	}
	b.header(unix.NFNL_MSG_BATCH_END, unix.NLM_F_REQUEST, unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
}

// number writes ascending sequence numbers from first into all messages.
func (b *batch) number(first uint32) {
	for at := 0; at < len(b.buf); first++ {
		binary.NativeEndian.PutUint32(b.buf[at+8:], first)
		at += align(int(binary.NativeEndian.Uint32(b.buf[at:])))
	}
}

// header writes nlmsghdr and nfgenmsg.
func (b *batch) header(typ, flags uint16, family byte, resource uint16) {
	b.buf = binary.NativeEndian.AppendUint32(b.buf, unix.SizeofNlMsghdr+4)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, flags)
	b.buf = append(b.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	b.buf = append(b.buf, family, unix.NFNETLINK_V0)
	b.buf = binary.BigEndian.AppendUint16(b.buf, resource)
}

// message adds one operation; attrs writes its attributes.
func (b *batch) message(typ uint16, flags uint16, family byte, o op, attrs func(b *batch)) {
	at := len(b.buf)
	b.header(unix.NFNL_SUBSYS_NFTABLES<<8|typ, unix.NLM_F_REQUEST|flags, family, 0)
	attrs(b)
	binary.NativeEndian.PutUint32(b.buf[at:], uint32(len(b.buf)-at))
	b.ops = append(b.ops, o)
}

func align(n int) int { return (n + 3) &^ 3 }

func (b *batch) attr(typ uint16, data []byte) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+len(data)))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = append(b.buf, data...)
	b.pad()
}

func (b *batch) text(typ uint16, s string) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+len(s)+1))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = append(append(b.buf, s...), 0)
	b.pad()
}

func (b *batch) pad() {
	for len(b.buf)%4 != 0 {
		b.buf = append(b.buf, 0)
	}
}

func (b *batch) be32(typ uint16, v uint32) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, 8)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = binary.BigEndian.AppendUint32(b.buf, v)
}

func (b *batch) be64(typ uint16, v uint64) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, 12)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, typ)
	b.buf = binary.BigEndian.AppendUint64(b.buf, v)
}

// open begins a nested attribute, shut ends it.
func (b *batch) open(typ uint16) (at int) {
	b.buf = append(b.buf, 0, 0, 0, 0)
	binary.NativeEndian.PutUint16(b.buf[len(b.buf)-2:], typ|unix.NLA_F_NESTED)
	return len(b.buf) - 4
}

func (b *batch) shut(at int) { binary.NativeEndian.PutUint16(b.buf[at:], uint16(len(b.buf)-at)) }

// element is an element of a set of addresses.
type element struct {
	key     netip.Addr
	end     bool          // ends the interval before it, and is not in it
	open    bool          // begins an interval that ends with the address space
	timeout time.Duration // that it was given; 0: it stays
	expires time.Duration // that is left of it
}

// elements adds, updates or deletes up to maxPerMessage elements of a set. An
// expiration, which only kernels that update elements in place take, is sent where
// it is not zero.
func (b *batch) elements(typ uint16, ref SetRef, elems []element) {
	verb, flags := "add elements to set", uint16(unix.NLM_F_CREATE)
	if typ == unix.NFT_MSG_DELSETELEM {
		verb, flags = "delete elements from set", 0
	}
	b.message(typ, flags, ref.nfproto(), op{verb: verb, name: ref.Name, set: ref}, func(b *batch) {
		b.text(unix.NFTA_SET_ELEM_LIST_TABLE, ref.Table)
		b.text(unix.NFTA_SET_ELEM_LIST_SET, ref.Name)
		list := b.open(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for i := range elems {
			b.element(&elems[i])
		}
		b.shut(list)
	})
}

// openInterval is what nft(8) writes into the user data of an interval that has no
// end element, and needs to print it (NFTNL_UDATA_SET_ELEM_FLAGS, INTERVAL_OPEN).
var openInterval = []byte{1, 4, 1, 0, 0, 0}

func (b *batch) element(e *element) {
	at := b.open(unix.NFTA_LIST_ELEM)
	key := b.open(unix.NFTA_SET_ELEM_KEY)
	if e.key.Is4() {
		raw := e.key.As4()
		b.attr(unix.NFTA_DATA_VALUE, raw[:])
	} else {
		raw := e.key.As16()
		b.attr(unix.NFTA_DATA_VALUE, raw[:])
	}
	b.shut(key)
	if e.end {
		b.be32(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	}
	if e.open {
		b.attr(unix.NFTA_SET_ELEM_USERDATA, openInterval)
	}
	if e.timeout > 0 {
		b.be64(unix.NFTA_SET_ELEM_TIMEOUT, millis(e.timeout))
	}
	if e.expires > 0 {
		b.be64(unix.NFTA_SET_ELEM_EXPIRATION, millis(e.expires))
	}
	b.shut(at)
}

// millis rounds up: an element must not end before its answer.
func millis(d time.Duration) uint64 { return uint64((d + time.Millisecond - 1) / time.Millisecond) }

// Refusal is the kernel's answer to a transaction that it did not take, nothing of which
// has then taken effect.
type Refusal struct {
	Errno unix.Errno
	Set   SetRef // of the elements that were refused; zero where the message was about something else
	op    op
	text  string // the kernel's own words, where it has some
}

func (r *Refusal) Error() string {
	if r.text != "" {
		return fmt.Sprintf("%s: %v (%s)", r.op, r.Errno, r.text)
	}
	return fmt.Sprintf("%s: %v", r.op, r.Errno)
}

// Unwrap returns the kernel's errno.
func (r *Refusal) Unwrap() error { return r.Errno }
