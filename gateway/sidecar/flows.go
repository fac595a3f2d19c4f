package sidecar

import (
	"errors"
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// deleteFlowsOfRemoved deletes the conntrack entries of routes that have a policy rule in
// the kernel and none in the desired state: they were removed or renumbered, maybe while
// nothing ran. Their flows would go on with a mark that means nothing, or another route.
// Those of an uplink that has lost its default may go on when it is back, and so may those of
// one that was a member of the WAN and now is all of it.
func (r *reconciler) deleteFlowsOfRemoved(have, want policy.State, wan []string) error {
	kept := want.Uplinks
	if r.applied != nil {
		for _, u := range r.applied.Members(r.applied.WANRoute()) {
			if slices.Contains(wan, u.Egress.Link) {
				kept = append(kept, u.Mark)
			}
		}
	}
	for _, m := range kept {
		if !slices.Contains(r.uplinks, m) {
			r.uplinks = append(r.uplinks, m)
		}
	}
	var removed []gateway.Mark
	for _, rule := range have.Rules {
		kept := slices.ContainsFunc(want.Rules, func(w policy.Rule) bool { return w.Mark == rule.Mark })
		wan := rule.Mark.Value == rule.Mark.Mask // flows via the WAN go on via the WAN
		if rule.Mark.Value != 0 && !slices.Contains(r.uplinks, rule.Mark) && !kept && !wan && !slices.Contains(removed, rule.Mark) {
			removed = append(removed, rule.Mark)
		}
	}
	var errs []error
	for _, m := range removed {
		n, err := r.system.deleteFlows(m)
		errs = append(errs, err)
		if n > 0 {
			r.logChanges([]string{fmt.Sprintf("deleted %d conntrack entries of removed routes", n)})
		}
	}
	return errors.Join(errs...)
}
