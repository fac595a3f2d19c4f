package dataplane

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// markRemoved keeps the kill switch of routes that a new configuration no longer has
// active for a moment: the sidecar deletes their flows within a fraction of a second. c.mu is
// held.
func (c *Controller) markRemoved(old, cfg *gateway.Config) {
	for _, r := range old.Routes {
		if !hasMark(cfg, r.Mark) {
			c.removed[r.Mark] = time.Now()
			time.AfterFunc(c.timers.Removed, c.Kick)
		}
	}
}

// removedMarks returns the marks of routes that were removed a moment ago and that no
// route has taken since, in a stable order.
func (c *Controller) removedMarks(cfg *gateway.Config, now time.Time) []gateway.Mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := c.Config() // cfg may be the one before
	maps.DeleteFunc(c.removed, func(m gateway.Mark, at time.Time) bool {
		return now.Sub(at) >= c.timers.Removed || hasMark(current, m)
	})
	var marks []gateway.Mark
	for m := range c.removed {
		if !hasMark(cfg, m) {
			marks = append(marks, m)
		}
	}
	slices.SortFunc(marks, func(a, b gateway.Mark) int { return cmp.Compare(a.Value, b.Value) })
	return marks
}

func hasMark(cfg *gateway.Config, m gateway.Mark) bool {
	return slices.ContainsFunc(cfg.Routes, func(r gateway.Route) bool { return r.Mark == m })
}
