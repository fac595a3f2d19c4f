// Package conntrack lists and deletes the kernel's connection tracking entries. The next
// packet of a deleted one is classified, routed and translated as that of a new flow.
package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// attrMarkMask is CTA_MARK_MASK of linux/netfilter/nfnetlink_conntrack.h.
const attrMarkMask = 21

// Flow is an entry. An IPv4-mapped IPv6 address stays IPv6: it belongs to another flow.
type Flow struct {
	Mark uint32     // the whole ct mark, with the bits of other programs
	Src  netip.Addr // of the first packet
	Dst  netip.Addr // of the first packet
	To   netip.Addr // its destination after translation; Dst where there is none
	Port uint16     // at Dst; 0 where the protocol has none
	Seen bool       // a packet of the other direction was seen

	Proto uint8 // of IP
	Ended bool  // a TCP connection that is closed, or is being closed

	label [16]byte // in the kernel's order; none in zones, which Open vSwitch has with labels of its own
}

// Labelled reports whether a bit of the flow's label is set.
func (f Flow) Labelled(bit int) bool {
	if bit < 0 || bit >= 8*len(f.label) {
		return false
	}
	word := binary.NativeEndian.Uint64(f.label[bit/64*8:])
	return word>>(bit%64)&1 != 0
}

// Routed reports whether the label says that the flow has a route, or is the WAN's.
func (f Flow) Routed() bool {
	none := Flow{}
	binary.NativeEndian.PutUint64(none.label[:], 1<<gateway.LocalLabel)
	return f.label != [16]byte{} && f.label != none.label
}

// Walk calls do for each entry with a mark, in no order; the zero Mark selects all. The
// kernel filters them in one dump, which takes a few microseconds an entry. An interrupted
// dump is repeated, and do is called again for what was seen. A dump of a changing table
// may be incomplete all the same; callers that need every entry must walk again later.
func Walk(of gateway.Mark, do func(Flow)) error {
	err := repeat(func() error {
		return dump(of, func(_ byte, f Flow, _ []byte) { do(f) })
	})
	if err != nil {
		return fmt.Errorf("read conntrack entries: %w", err)
	}
	return nil
}

// Delete deletes the chosen entries of those with a mark and returns them. Like Walk, it
// may miss some of a changing table, and may ask for one more than once.
func Delete(of gateway.Mark, chosen func(Flow) bool) (deleted []Flow, err error) {
	err = repeat(func() error {
		all, err := deleteOnce(of, chosen)
		deleted = append(deleted, all...)
		return err
	})
	if err != nil {
		return deleted, fmt.Errorf("delete conntrack entries: %w", err)
	}
	return deleted, nil
}

func deleteOnce(of gateway.Mark, chosen func(Flow) bool) (deleted []Flow, err error) {
	type entry struct {
		family byte
		id     []byte
		flow   Flow
	}
	var all []entry // deleted after the dump, which would miss some otherwise
	err = dump(of, func(family byte, f Flow, id []byte) {
		if chosen(f) {
			all = append(all, entry{family, id, f})
		}
	})
	var errs []error
	for _, e := range all {
		req := request(e.family, nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
		req.AddRawData(e.id)
		_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
		switch {
		case err == nil:
			deleted = append(deleted, e.flow)
		case !errors.Is(err, unix.ENOENT): // ENOENT: it has ended by itself
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return deleted, errors.Join(errs...)
	}
	return deleted, err
}

// dumpTries bounds how often an interrupted dump is repeated: each costs as much as the
// first, and a busy router's table never stops changing.
const dumpTries = 3

// repeat repeats a dump that the kernel reports as interrupted (NLM_F_DUMP_INTR), which may
// lack entries. What the last one found is better than an error.
func repeat(dump func() error) error {
	for range dumpTries {
		if err := dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return nil
}

func request(family byte, operation, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|operation, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	return req
}

// dump calls do for the entries of both families; id holds the attributes that identify
// one in a request to delete it.
func dump(of gateway.Mark, do func(family byte, f Flow, id []byte)) error {
	req := request(unix.AF_UNSPEC, nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
	if of.Mask != 0 {
		req.AddData(nl.NewRtAttr(nl.CTA_MARK, binary.BigEndian.AppendUint32(nil, of.Value)))
		req.AddData(nl.NewRtAttr(attrMarkMask, binary.BigEndian.AppendUint32(nil, of.Mask)))
	}
	err := req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(msg []byte) bool {
		if f, id, ok := parse(msg); ok && of.Matches(f.Mark) {
			do(msg[0], f, id)
		}
		return true
	})
	if absent(err) {
		return nil
	}
	return err
}

// absent reports whether the error means that the kernel has no conntrack, or that nothing
// has needed it yet.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL)
}
