package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/plugin/pkg/aliases"
)

// binding is the dataplane of one gateway.yaml, and the CoreDNS instances that use it.
type binding struct {
	dataplane *dataplane.Controller
	aliases   *aliases.Store
	living    []*instance  // the newest is the last
	close     func() error // nil: the process that provides it ends it

	offered *gateway.Config // for instances that start now; nil: the one in force
	before  *gateway.Config // the one in force before the newest instance joined
}

// registry says which dataplane belongs to which gateway.yaml. It is the one place of
// state that outlives a reload of CoreDNS, which starts the new instance before it ends
// the old one, so that both use one dataplane for a moment.
var registry = struct {
	sync.Mutex
	config   string // the gateway.yaml of blocks without `config`
	state    string // the state directory of dataplanes that are opened here
	bindings map[string]*binding
}{
	config: gateway.DefaultFile, state: gateway.DefaultState, bindings: map[string]*binding{},
}

// SetDefaults sets the gateway.yaml of blocks without `config`, and the state directory of
// dataplanes that no program provides; "" leaves what is set. It is called before CoreDNS
// starts.
func SetDefaults(config, state string) {
	registry.Lock()
	defer registry.Unlock()
	if config != "" {
		registry.config = config
	}
	if state != "" {
		registry.state = filepath.Clean(state)
	}
}

// Provide makes blocks use a running dataplane and aliases, until withdraw is called.
// Blocks without `config` belong to it, too. Its configuration is set by the program that
// provides it. Without one, a dataplane is opened here when an instance starts, and ended
// with the last one that uses it.
func Provide(d *dataplane.Controller, a *aliases.Store) (withdraw func()) {
	file := resolve(d.Config().File)
	registry.Lock()
	defer registry.Unlock()
	old := registry.config
	registry.config = d.Config().File
	registry.bindings[file] = &binding{dataplane: d, aliases: a}
	return func() {
		registry.Lock()
		defer registry.Unlock()
		registry.config = old
		delete(registry.bindings, file)
	}
}

// Offer makes the instances that start before withdraw is called use another configuration,
// which is in force from their start on. Where their start fails, the one before is.
func Offer(cfg *gateway.Config) (withdraw func()) {
	registry.Lock()
	defer registry.Unlock()
	b := registry.bindings[resolve(cfg.File)]
	if b == nil {
		return func() {}
	}
	b.offered = cfg
	return func() {
		registry.Lock()
		defer registry.Unlock()
		b.offered = nil
	}
}

// resolve returns one path for all forms of it.
func resolve(file string) string {
	if abs, err := filepath.Abs(file); err == nil {
		return abs
	}
	return filepath.Clean(file)
}

func resolveConfig(file string) string {
	registry.Lock()
	defer registry.Unlock()
	return resolveLocked(file)
}

// resolveLocked is resolveConfig while the registry is locked.
func resolveLocked(file string) string {
	if file == "" {
		file = registry.config
	}
	return resolve(file)
}

// acquire joins an instance to the dataplane of its gateway.yaml, and opens one where
// there is none.
func acquire(i *instance) (*binding, error) {
	registry.Lock()
	defer registry.Unlock()
	b := registry.bindings[i.file]
	if b != nil {
		return b, b.join(i)
	}
	cfg, err := loadConfig(i.file)
	if err != nil {
		return nil, err
	}
	if err := i.check(cfg); err != nil {
		return nil, err
	}
	if b, err = open(cfg); err != nil {
		return nil, err
	}
	if err := b.join(i); err != nil {
		return nil, errors.Join(err, b.close())
	}
	registry.bindings[i.file] = b
	return b, nil
}

func loadConfig(file string) (*gateway.Config, error) {
	cfg, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	return cfg.WithState(registry.state), nil
}

// open opens a dataplane of our own.
func open(cfg *gateway.Config) (*binding, error) {
	names := aliases.New()
	d, err := dataplane.New(dataplane.Options{Config: cfg, State: registry.state, IsAlias: names.Has})
	if err != nil {
		return nil, fmt.Errorf("open the dataplane of %s: %w", cfg.File, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	saved := names.Persist(ctx, aliases.File(registry.state), slog.Default())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	return &binding{dataplane: d, aliases: names, close: func() error {
		cancel()
		<-saved
		return <-ended
	}}, nil
}

// join adds an instance to those that use the dataplane, with the configuration that is
// offered. A dataplane of our own takes the gateway.yaml as it is now. Nothing is changed
// where the instance cannot start.
func (b *binding) join(i *instance) error {
	old := b.dataplane.Config()
	cfg := old
	switch {
	case b.offered != nil:
		cfg = b.offered
	case b.close != nil && len(b.living) > 0:
		var err error
		if cfg, err = loadConfig(i.file); err != nil {
			return err
		}
	}
	if err := i.check(cfg); err != nil {
		return err
	}
	if cfg != old {
		b.dataplane.SetConfig(cfg)
		if err := b.dataplane.ListErrors(); err != nil {
			log.Warning(err.Error())
		}
	}
	all := append(slices.Clone(b.living), i)
	if err := b.dataplane.Require(context.Background(), requirementsOf(all)...); err != nil {
		if cfg != old {
			b.dataplane.SetConfig(old)
		}
		return err
	}
	b.living, b.before = all, old
	return nil
}

func requirementsOf(all []*instance) []dataplane.Requirements {
	reqs := make([]dataplane.Requirements, len(all))
	for n, i := range all {
		reqs[n] = i.requirements()
	}
	return reqs
}

// release ends an instance's use of the dataplane. The last one ends a dataplane of our
// own, which leaves the nft table in place. The last one's requirements stay in force until
// others replace them: they say which sets there are to store. The newest one ends before the
// others where its start was given up, and its configuration goes with it.
func release(i *instance) error {
	registry.Lock()
	defer registry.Unlock()
	b := registry.bindings[i.file]
	if b == nil || !slices.Contains(b.living, i) {
		return nil
	}
	if len(b.living) > 1 {
		if i == b.living[len(b.living)-1] {
			b.restoreConfig()
		}
		b.keep(slices.DeleteFunc(slices.Clone(b.living), func(o *instance) bool { return o == i })...)
		return nil
	}
	b.living = nil
	if b.close == nil {
		return nil
	}
	delete(registry.bindings, i.file)
	return b.close()
}

// keepOnly ends the use of every instance but one. Caddy's own start does not tell an
// instance that it gives up half way; the old one, which goes on, is told instead, and goes
// on with the configuration that it had.
func keepOnly(i *instance) {
	registry.Lock()
	defer registry.Unlock()
	b := registry.bindings[i.file]
	if b == nil || !slices.Contains(b.living, i) || len(b.living) == 1 {
		return
	}
	b.restoreConfig()
	b.keep(i)
}

// restoreConfig returns to the configuration from before the newest instance.
func (b *binding) restoreConfig() {
	if b.before != b.dataplane.Config() {
		b.dataplane.SetConfig(b.before)
	}
}

// keep drops the requirements of all other instances.
func (b *binding) keep(all ...*instance) {
	b.living = all
	b.dataplane.Relax(requirementsOf(all)...)
}
