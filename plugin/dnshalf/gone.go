package dnshalf

import (
	"maps"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// goneFor is how long the door stays closed behind a route that was removed. The
// sidecar deletes its flows within a fraction of a second.
const goneFor = 3 * time.Second

// leaveRoutes notes the marks that a new configuration no longer has.
func (h *Half) leaveRoutes(old, cfg *gateway.Config) {
	if old == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range old.Routes {
		if !hasMark(cfg, r.Mark) {
			if h.gone == nil {
				h.gone = map[gateway.Mark]time.Time{}
			}
			h.gone[r.Mark] = time.Now()
			time.AfterFunc(goneFor, h.Kick)
		}
	}
}

// goneMarks are the marks of routes that were removed a moment ago and that no route
// has taken since, in a stable order.
func (h *Half) goneMarks(cfg *gateway.Config, now time.Time) []gateway.Mark {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.gone, func(m gateway.Mark, at time.Time) bool {
		return now.Sub(at) >= goneFor || hasMark(cfg, m)
	})
	return slices.SortedFunc(maps.Keys(h.gone), func(a, b gateway.Mark) int { return int(int64(a.Value) - int64(b.Value)) })
}

func hasMark(cfg *gateway.Config, m gateway.Mark) bool {
	return slices.ContainsFunc(cfg.Routes, func(r gateway.Route) bool { return r.Mark == m })
}
