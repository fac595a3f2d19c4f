// Package conntrack ends flows: it deletes the kernel's entries of connections, so that
// the next packet of each is classified, routed and translated anew.
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

// Flow is a connection as far as it is chosen by. An IPv4-mapped IPv6 address stays
// IPv6: it is another flow.
type Flow struct {
	Mark uint32     // the connection's whole mark, others' bits too
	Src  netip.Addr // who opened it
	Dst  netip.Addr // where its first packet was sent
	To   netip.Addr // where it was sent on to; Dst, where nobody translates that
	Port uint16     // at Dst; 0 where the protocol has none
}

// Walk reads the connections with a mark, in no order. The kernel leaves out the others;
// the zero Mark is all. It is one dump, of some microseconds a flow.
func Walk(of gateway.Mark, see func(Flow)) error {
	err := dump(of, func(_ byte, f Flow, _ []byte) { see(f) })
	if err != nil {
		return fmt.Errorf("read conntrack entries: %w", err)
	}
	return nil
}

// Delete deletes those of the connections with a mark that are chosen, and says how many
// there were.
func Delete(of gateway.Mark, chosen func(Flow) bool) (n int, err error) {
	type entry struct {
		family byte
		name   []byte
	}
	var all []entry // deleted when the dump is over, which would miss some otherwise
	err = dump(of, func(family byte, f Flow, name []byte) {
		if chosen(f) {
			all = append(all, entry{family, name})
		}
	})
	errs := []error{err}
	for _, e := range all {
		req := request(e.family, nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
		req.AddRawData(e.name)
		_, err := req.Execute(unix.NETLINK_NETFILTER, 0)
		switch {
		case err == nil:
			n++
		case !errors.Is(err, unix.ENOENT): // it has ended by itself
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return n, fmt.Errorf("delete conntrack entries: %w", err)
	}
	return n, nil
}

func request(family byte, operation, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|operation, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	return req
}

// dump reads the entries, of both families at once; name is what a request to delete one
// must hold.
func dump(of gateway.Mark, see func(family byte, f Flow, name []byte)) error {
	req := request(unix.AF_UNSPEC, nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
	if of.Mask != 0 {
		req.AddData(nl.NewRtAttr(nl.CTA_MARK, binary.BigEndian.AppendUint32(nil, of.Value)))
		req.AddData(nl.NewRtAttr(attrMarkMask, binary.BigEndian.AppendUint32(nil, of.Mask)))
	}
	err := req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(msg []byte) bool {
		if f, name, ok := parse(msg); ok && of.Matches(f.Mark) {
			see(msg[0], f, name)
		}
		return true
	})
	// Of a table that changes meanwhile most is read; who must have all asks again.
	if absent(err) || errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil
	}
	return err
}

// absent: no conntrack in this kernel, or nothing has needed it yet.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL)
}
