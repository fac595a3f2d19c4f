package sidecar

import (
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// askPause is the least time between two looks for diversions, which ask the kernel for
// every policy rule of another program before ours.
const askPause = time.Second

// diversions are policy rules of other programs that decide in place of ours.
type diversions struct {
	due   bool // something has changed since they were looked for
	asked time.Time
	found []policy.Diversion
}

// lookForDiversions is called at each step, and after an apply asks again.
func (r *reconciler) lookForDiversions(cfg *gateway.Config, now time.Time) {
	if !r.diverted.due || now.Sub(r.diverted.asked) < askPause {
		return
	}
	found, err := r.kernel.Diversions(cfg)
	r.report("other programs' policy rules", err)
	if err != nil {
		return
	}
	r.diverted.due, r.diverted.asked = false, now
	gone := slices.DeleteFunc(r.diverted.found, func(d policy.Diversion) bool {
		return slices.ContainsFunc(found, func(f policy.Diversion) bool { return f.String() == d.String() })
	})
	for _, d := range found {
		if changed, _ := r.problems.Set("rule "+d.String(), d.String()); changed {
			r.log.Error("another program's policy rule decides before ours", "rule", d.Rule, "priority", d.Priority, "family", int(d.Family), "routes", d.Routes, "link", d.Link)
		}
	}
	for _, d := range gone {
		r.problems.Set("rule "+d.String(), "")
		r.log.Info("another program's policy rule no longer decides before ours", "rule", d.Rule, "priority", d.Priority, "family", int(d.Family))
	}
	r.diverted.found = found
}

// noteOf says which rules decide about packets of a route.
func (d diversions) noteOf(route string) string {
	var notes []string
	for _, f := range d.found {
		if slices.Contains(f.Routes, route) {
			notes = append(notes, f.String())
		}
	}
	return strings.Join(notes, "; ")
}
