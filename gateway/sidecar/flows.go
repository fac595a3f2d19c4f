package sidecar

import (
	"errors"
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/policy"
)

// forgetFlows deletes the conntrack entries of routes that have a policy rule in
// the kernel and none in the wanted state: routes that were removed or renumbered,
// also while nothing ran. Without it their flows would carry a mark that means
// nothing, or another route, until they end.
func (c *Controller) forgetFlows(have, want policy.State) error {
	var gone []gateway.Mark
	for _, r := range have.Rules {
		kept := slices.ContainsFunc(want.Rules, func(w policy.Rule) bool { return w.Mark == r.Mark })
		wan := r.Mark.Value == r.Mark.Mask // flows by the WAN go on by the WAN
		if !r.Invert && !kept && !wan && !slices.Contains(gone, r.Mark) {
			gone = append(gone, r.Mark)
		}
	}
	var errs []error
	for _, m := range gone {
		n, err := conntrack.Delete(m, func(conntrack.Flow) bool { return true })
		errs = append(errs, err)
		if n > 0 {
			c.changed([]string{fmt.Sprintf("deleted %d conntrack entries of removed routes", n)})
		}
	}
	return errors.Join(errs...)
}
