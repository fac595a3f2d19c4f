package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
)

// reader reads the kernel's links, addresses, rules and routes.
type reader struct {
	h        *netlink.Handle  // links, addresses, rules
	routes   *netlink.Handle  // route dumps, filtered by the kernel
	families []gateway.Family // of the kernel: IPv6 may be disabled at boot
}

func newReader() (*reader, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	routes, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	k := &reader{h: h, routes: routes, families: gateway.Families[:]}
	if _, err := os.Stat("/proc/sys/net/ipv6"); errors.Is(err, fs.ErrNotExist) {
		k.families = []gateway.Family{gateway.V4}
	}
	// Kernels before 4.20 cannot filter dumps; the library filters again anyway.
	if err := routes.SetStrictCheck(true); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
		k.close()
		return nil, fmt.Errorf("open netlink: strict checking: %w", err)
	}
	return k, nil
}

func (k *reader) close() {
	k.h.Close()
	k.routes.Close()
}

// state reads our policy rules and kernel routes.
func (k *reader) state(links map[int]string) (State, error) {
	var s State
	for _, f := range k.families {
		rules, err := nlretry.Dump(func() ([]netlink.Rule, error) { return k.h.RuleList(familyNumber(f)) })
		if err != nil {
			return State{}, fmt.Errorf("ip -%d rule: %w", f, err)
		}
		main := false
		for _, r := range rules {
			if r.Protocol == gateway.Protocol {
				s.Rules = append(s.Rules, ruleOf(r))
			} else {
				main = main || r.Table == unix.RT_TABLE_MAIN && r.SuppressPrefixlen < 0 // wg-quick adds one that hides defaults
			}
		}
		if !main {
			s.NoMain = append(s.NoMain, f)
		}
		ours := &netlink.Route{Protocol: gateway.Protocol}
		routes, err := k.dump(f, ours, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			return State{}, err
		}
		for _, n := range routes {
			if r, ok := routeOf(n, links); ok {
				s.KernelRoutes = append(s.KernelRoutes, r)
			}
		}
	}
	s.Sort()
	return s, nil
}

func isDefault(n netlink.Route) bool {
	if n.Dst == nil {
		return true
	}
	ones, _ := n.Dst.Mask.Size()
	return ones == 0
}

// dump lists kernel routes. A table that does not exist is empty.
func (k *reader) dump(f gateway.Family, filter *netlink.Route, mask uint64) (routes []netlink.Route, err error) {
	err = k.each(f, filter, mask, func(n netlink.Route) { routes = append(routes, n) }, func() { routes = nil })
	return routes, err
}

// each calls do for every kernel route. It calls restart first, and again whenever the
// dump was interrupted by a change and starts over.
func (k *reader) each(f gateway.Family, filter *netlink.Route, mask uint64, do func(netlink.Route), restart func()) error {
	_, err := nlretry.Dump(func() (struct{}, error) {
		restart()
		return struct{}{}, k.routes.RouteListFilteredIter(familyNumber(f), filter, mask, func(n netlink.Route) bool {
			do(n)
			return true
		})
	})
	if err != nil && !errors.Is(err, unix.ENOENT) { // a filtered dump of a table that does not exist
		return fmt.Errorf("ip -%d route: %w", f, err)
	}
	return nil
}

func (k *reader) linkNames() (map[int]string, error) {
	links, err := nlretry.Dump(k.h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	return names, nil
}
