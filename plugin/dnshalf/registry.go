package dnshalf

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
)

// Defaults are what a process says once, before CoreDNS starts, for blocks that do
// not say it themselves.
type Defaults struct {
	Config string // gateway.yaml for blocks without `config`
	State  string // the state directory
}

// registry is the one place of state that outlives a CoreDNS reload: the halves
// that are open, by the file that they were configured from. CoreDNS starts the new
// instance before it ends the old one, so a half is shared by both for a moment.
var registry = struct {
	sync.Mutex
	defaults Defaults
	given    *gateway.Config // used instead of reading its file; see UseConfig
	halves   map[string]*Half
}{
	defaults: Defaults{Config: gateway.DefaultFile, State: gateway.DefaultState},
	halves:   map[string]*Half{},
}

// SetDefaults sets the defaults of this process; empty fields leave what is there.
func SetDefaults(d Defaults) {
	registry.Lock()
	defer registry.Unlock()
	if d.Config != "" {
		registry.defaults.Config = d.Config
	}
	if d.State != "" {
		registry.defaults.State = d.State
	}
}

// Running returns the open half of a gateway.yaml ("" means the default one), or nil.
func Running(file string) *Half {
	registry.Lock()
	defer registry.Unlock()
	if file == "" {
		file = registry.defaults.Config
	}
	return registry.halves[file]
}

// acquire opens the half that a plan asks for, or joins the one that is open.
func acquire(p *plan) (*Half, error) {
	registry.Lock()
	defer registry.Unlock()
	if h := registry.halves[p.file]; h != nil {
		if err := h.join(p); err != nil {
			return nil, err
		}
		return h, nil
	}
	h, err := open(p, filepath.Clean(registry.defaults.State))
	if err != nil {
		return nil, fmt.Errorf("open the dns half of %s: %w", p.file, err)
	}
	registry.halves[p.file] = h
	return h, nil
}

// release lets go of what a plan held. The last one closes the half, which leaves
// the nft table in place.
func release(p *plan) error {
	registry.Lock()
	defer registry.Unlock()
	h := registry.halves[p.file]
	if h == nil || !h.leave(p) {
		return nil
	}
	delete(registry.halves, p.file)
	return errors.Join(h.close())
}

// keepOnly drops every plan but p. CoreDNS does not tell an instance whose start was
// given up half way that it ends; the old one, which goes on, is told instead.
func keepOnly(p *plan) {
	registry.Lock()
	defer registry.Unlock()
	if h := registry.halves[p.file]; h != nil {
		h.keepOnly(p)
	}
}

func defaultConfig() string {
	registry.Lock()
	defer registry.Unlock()
	return registry.defaults.Config
}

// UseConfig has blocks that name cfg.File take cfg instead of reading that file: a
// Corefile is checked against a configuration that is not in force yet, and a last
// good one is used while the file is wrong. The function that it returns undoes it.
func UseConfig(cfg *gateway.Config) (restore func()) {
	registry.Lock()
	defer registry.Unlock()
	old := registry.given
	registry.given = cfg
	return func() {
		registry.Lock()
		defer registry.Unlock()
		registry.given = old
	}
}

// loadConfig reads a gateway.yaml, or takes the one that was given for it.
func loadConfig(file string) (*gateway.Config, error) {
	registry.Lock()
	given, state := registry.given, registry.defaults.State
	registry.Unlock()
	if given != nil && given.File == file {
		return given, nil
	}
	cfg, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	return cfg.WithState(state), nil
}
