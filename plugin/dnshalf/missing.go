package dnshalf

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// missing are the lists with `missing: fail` that have no content at all.
type missing struct {
	mu    sync.Mutex // of whoever looks: an older look must not overwrite a newer one
	names atomic.Pointer[[]string]
}

// look finds them anew.
func (m *missing) look(cfg *gateway.Config, lib *lists.Library) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, r := range lib.Reports() {
		s, fetched := cfg.Source(r.Name)
		if fetched && s.Missing == gateway.MissingFail && bad(r.Err) && r.LoadedAt.IsZero() {
			names = append(names, r.Name)
		}
	}
	m.names.Store(&names)
}

// Missing names the first of the lists that has `missing: fail` and no content at all,
// or is "". It takes no lock.
func (h *Half) Missing(among []string) string {
	names := h.missing.names.Load()
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
