// Package conntrack ends flows: it deletes the kernel's entries of connections, so that
// the next packet of each is classified, routed and translated anew.
package conntrack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Flow is a connection as far as it is chosen by.
type Flow struct {
	Mark uint32     // whole, others' bits too
	Src  netip.Addr // who opened it
	Dst  netip.Addr // where its first packet was sent
	To   netip.Addr // where it was sent on to; Dst, where nothing translates it
	Port uint16     // at Dst; 0 where the protocol has none
}

// Walk reads the connections of both families, in no order, each once. It is one dump
// for each family, which takes 1 to 2 us a connection.
func Walk(see func(Flow)) error {
	_, err := each(func(f Flow) bool { see(f); return false })
	if err != nil {
		return fmt.Errorf("read conntrack entries: %w", err)
	}
	return nil
}

// Delete deletes the connections that are chosen and says how many there were.
func Delete(chosen func(Flow) bool) (n int, err error) {
	if n, err = each(chosen); err != nil {
		return n, fmt.Errorf("delete conntrack entries: %w", err)
	}
	return n, nil
}

func each(chosen func(Flow) bool) (n int, err error) {
	var errs []error
	for _, f := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		k, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, f, filter(chosen))
		n += int(k)
		if err != nil && !absent(err) && !errors.Is(err, netlink.ErrDumpInterrupted) {
			errs = append(errs, err)
		}
	}
	return n, errors.Join(errs...)
}

// absent: no conntrack in this kernel, or nothing has needed it yet.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL)
}

// filter is a choice as the library takes it.
type filter func(Flow) bool

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f filter) MatchConntrackFlow(c *netlink.ConntrackFlow) bool {
	return f(Flow{Mark: c.Mark, Src: addr(c.Forward.SrcIP), Dst: addr(c.Forward.DstIP), To: addr(c.Reverse.SrcIP), Port: c.Forward.DstPort})
}

// addr keeps an IPv4-mapped IPv6 address what it is: the two families are different flows.
func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a
}
