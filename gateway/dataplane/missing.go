package dataplane

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/epoch"
	"github.com/nameroute/nameroute/lists"
)

// missing holds the lists with `missing: fail` that have no content at all.
type missing struct {
	mu    sync.Mutex // held by update: an older one must not overwrite a newer one
	names atomic.Pointer[[]string]
}

func (m *missing) update(cfg *gateway.Config, lib *lists.Library) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, r := range lib.Reports() {
		s, fetched := cfg.Source(r.Name)
		if fetched && s.Missing == gateway.MissingFail && isBad(r.Err) && r.LoadedAt.IsZero() {
			names = append(names, r.Name)
		}
	}
	m.names.Store(&names)
	epoch.Advance()
}

// Missing returns the first of the lists that has `missing: fail` and no content at all,
// or "". It takes no lock.
func (c *Controller) Missing(among []string) string {
	names := c.missing.names.Load()
	if names == nil {
		return ""
	}
	for _, n := range *names {
		if slices.Contains(among, n) {
			return n
		}
	}
	return ""
}
