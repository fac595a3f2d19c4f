package reconcile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// forgetFlows deletes the conntrack entries of routes that have a policy rule in
// the kernel and none in the wanted state: routes that were removed or renumbered,
// also while nothing ran. Without it their flows would carry a mark that means
// nothing, or another route, until they end.
func (l *Loop) forgetFlows(have, want policy.State) error {
	var gone marks
	for _, r := range have.Rules {
		kept := slices.ContainsFunc(want.Rules, func(w policy.Rule) bool { return w.Mark == r.Mark })
		wan := r.Mark.Value == r.Mark.Mask // flows by the WAN go on by the WAN
		if !r.Invert && !kept && !wan && !slices.Contains(gone, r.Mark) {
			gone = append(gone, r.Mark)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	var errs []error
	for _, f := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		n, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, f, gone)
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EPROTONOSUPPORT) && !errors.Is(err, unix.EINVAL) { // no conntrack in this kernel
			errs = append(errs, fmt.Errorf("delete conntrack entries of removed routes: %w", err))
		}
		if n > 0 {
			l.changed([]string{fmt.Sprintf("deleted %d conntrack entries of removed routes", n)})
		}
	}
	return errors.Join(errs...)
}

// marks selects flows by their connection mark.
type marks []gateway.Mark

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (m marks) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	return slices.ContainsFunc(m, func(mark gateway.Mark) bool { return mark.Matches(flow.Mark) })
}
