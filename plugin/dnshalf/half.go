package dnshalf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/plugin/pkg/aliases"
)

// slowLook is how often the kernel is compared even when no event told of a change.
const slowLook = 30 * time.Second

// retryAfter is the pause after the kernel refused something.
const retryAfter = time.Second

// Half is the dns half of one gateway.yaml. Its exported methods may be called from
// any goroutine.
type Half struct {
	file      string
	config    atomic.Pointer[gateway.Config]
	lists     *lists.Library
	providers *provider.Store // its copies are the sidecar's to write
	names     *aliases.Store
	kernel    *nft.Kernel // nil where no block has a route
	evict     *evictor    // as kernel

	mu    sync.Mutex
	plans []*plan
	cells map[string]*atomic.Pointer[Status] // by route name; a cell is never removed
	whys  map[string]*why                    // by route name; never removed
	wan   []string                           // the WAN's links when it last had any

	wanResolvers []netip.AddrPort           // the last that were known; refresh's alone
	gone         map[gateway.Mark]time.Time // marks of removed routes, and when they were

	said sync.Map // what was last logged of each list, by its name

	meters sync.Map // *meter, by route name

	turned gateway.Redirect // by which flows of questions were decided; refresh only

	pressure pressure
	missing  missing

	state   string        // the state directory
	rejudge chan struct{} // lists or blocks have changed: see Rejudge

	cancel context.CancelFunc
	done   sync.WaitGroup
	saved  <-chan struct{} // closed when the names are on disk
	kick   chan struct{}   // something changed: look again
}

// open makes the half that a plan asks for. The nft table stands when it returns.
func open(p *plan, state string) (_ *Half, err error) {
	if err := p.mixed(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &Half{
		file: p.file, providers: provider.NewStore(state), names: aliases.New(), cancel: cancel,
		plans: []*plan{p}, cells: map[string]*atomic.Pointer[Status]{}, kick: make(chan struct{}, 1),
		whys: map[string]*why{}, state: state, rejudge: make(chan struct{}, 1),
	}
	h.config.Store(p.config)
	h.pressure.inForce(p.config)
	defer func() {
		if err != nil {
			cancel()
			err = errors.Join(err, h.close())
		}
	}()
	if err := h.openLists(p, state); err != nil {
		return nil, err
	}
	h.saved = h.names.Persist(ctx, filepath.Join(state, "names"), slog.Default())
	if err := h.openKernel(ctx, p); err != nil {
		return nil, err
	}
	h.done.Go(func() { h.lists.Watch(ctx, func() { h.report(); h.Kick(); h.Rejudge() }) })
	return h, nil
}

// openKernel takes the nft table over and follows the kernel's routes.
func (h *Half) openKernel(ctx context.Context, p *plan) error {
	if len(p.routes) == 0 {
		return nil
	}
	for _, r := range p.routes {
		h.cell(r.name)
	}
	k, err := nft.Open(nft.Options{Table: gateway.TableName, Owner: p.config.Owner, OnLoss: h.lost, OnFull: h.pressure.full, Spare: h.pressure.spare})
	if err != nil {
		return err
	}
	h.kernel, h.evict = k, newEvictor(k, h.fallen)
	watcher := resolvers.NewWatcher() // before refresh reads what it watches
	keep := &keeper{half: h, file: filepath.Join(h.state, "learned")}
	keep.recall(ctx, p.config, pairsOf(p.config, append(slices.Clone(h.plans), p)))
	if err := h.checkForeign(ctx, p); err != nil {
		return err
	}
	if err := h.refresh(ctx); err != nil {
		return err
	}
	h.done.Go(func() { watcher.Run(ctx, h.Kick) })
	h.done.Go(func() { h.follow(ctx) })
	h.done.Go(func() { keep.run(ctx) })
	h.done.Go(func() { h.evict.run(ctx) })
	h.done.Go(func() { h.judge(ctx) })
	h.Rejudge() // the lists may have changed since the addresses were stored
	return nil
}

func (h *Half) checkForeign(ctx context.Context, p *plan) error {
	var errs []error
	for _, pair := range p.foreignSets() {
		errs = append(errs, h.kernel.CheckSets(ctx, pair))
	}
	return errors.Join(errs...)
}

// follow keeps the nft table and the routes' states in step with the kernel.
func (h *Half) follow(ctx context.Context) {
	h.done.Go(func() {
		if err := policy.Watch(ctx, func(policy.Kind) { h.Kick() }); err != nil && ctx.Err() == nil {
			log.Errorf("follow the kernel's routes: %v; they are looked at every %v", err, slowLook)
		}
	})
	failing := false
	for {
		wait := slowLook
		if failing {
			wait = retryAfter
		}
		select {
		case <-ctx.Done():
			return
		case <-h.kick:
		case <-time.After(wait):
		}
		err := h.refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			log.Errorf("bring the nft table up to date: %v; trying again each second", err)
		case err == nil && failing:
			log.Infof("the nft table is up to date again")
		}
		failing = err != nil
	}
}

// Kick has the kernel looked at again soon.
func (h *Half) Kick() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// lost hears what others did to what is ours.
func (h *Half) lost(l nft.Loss) {
	h.evict.lost()
	what := strings.Join(l.What, ", ")
	if l.Err != nil {
		log.Errorf("another program changed what is ours (%s) and it cannot be put back yet: %v", what, l.Err)
		return
	}
	log.Warningf("another program changed what is ours (%s); put back in %v", what, l.Took.Round(time.Microsecond))
}

// Config is the gateway.yaml in force.
func (h *Half) Config() *gateway.Config { return h.config.Load() }

// Index is the compiled lists in force.
func (h *Half) Index() *lists.Index { return h.lists.Index() }

// Lists reports how each list was read.
func (h *Half) Lists() []lists.Report { return h.lists.Reports() }

// Names are the names that the answers for listed names lead to.
func (h *Half) Names() *aliases.Store { return h.names }

// Reload reads gateway.yaml and the lists again. Where the file is wrong, or lacks a
// route or a list that the Corefile names, everything stays as it is. Where the error
// is ErrList, all is taken up but the lists that it names, whose last good content stays.
func (h *Half) Reload() error {
	cfg, err := loadConfig(h.file)
	if err != nil {
		return err
	}
	h.mu.Lock()
	for _, p := range h.plans {
		err = errors.Join(err, p.fits(cfg))
	}
	h.mu.Unlock()
	if err != nil {
		return err
	}
	return h.use(cfg)
}

// use makes a checked configuration the one in force.
func (h *Half) use(cfg *gateway.Config) error {
	h.leaveRoutes(h.config.Swap(cfg), cfg)
	h.pressure.inForce(cfg)
	_, errs := h.lists.SetLists(cfg.Lists)
	h.report()
	h.Kick()
	h.Rejudge()
	if err := errors.Join(h.unexpected(cfg, errs)...); err != nil {
		return fmt.Errorf("%w: %w", ErrList, err)
	}
	return nil
}

// fits finds what the Corefile names and a new configuration lacks.
func (p *plan) fits(cfg *gateway.Config) error {
	var errs []error
	for _, r := range p.routes {
		if _, ok := cfg.Route(r.name); !ok {
			errs = append(errs, fmt.Errorf("%s: route %s is gone but the Corefile names it: change the Corefile first", cfg.File, r.name))
		}
	}
	for l := range p.lists {
		if _, ok := cfg.List(l); !ok {
			errs = append(errs, fmt.Errorf("%s: list %s is gone but the Corefile names it: change the Corefile first", cfg.File, l))
		}
	}
	return errors.Join(errs...)
}

// join lets a further instance use the half, with the configuration that it read.
func (h *Half) join(p *plan) error {
	if err := p.mixed(); err != nil {
		return err
	}
	if h.kernel == nil && len(p.routes) > 0 {
		ctx, cancel := context.WithCancel(context.Background())
		stop := h.cancel
		h.cancel = func() { stop(); cancel() }
		if err := h.openKernel(ctx, p); err != nil {
			return err
		}
	} else if h.kernel != nil {
		if err := h.checkForeign(context.Background(), p); err != nil {
			return err
		}
	}
	h.mu.Lock()
	h.plans = append(h.plans, p)
	h.mu.Unlock()
	if err := h.use(p.config); err != nil {
		log.Warningf("%v", err)
	}
	return nil
}

// leave drops a plan and tells whether it was the last. That one stays: it says which
// sets there are, of which close stores what they hold.
func (h *Half) leave(p *plan) (last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.plans, p)
	switch {
	case i < 0:
		return false
	case len(h.plans) == 1:
		return true
	}
	h.plans = append(h.plans[:i:i], h.plans[i+1:]...)
	h.Kick()
	h.Rejudge()
	return false
}

func (h *Half) keepOnly(p *plan) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.plans = []*plan{p}
	h.Kick()
	h.Rejudge()
}

// close ends the half and leaves the nft table as it is: the door stays closed.
func (h *Half) close() error {
	h.cancel()
	h.done.Wait()
	if h.saved != nil {
		<-h.saved
	}
	if h.kernel == nil {
		return nil
	}
	return h.kernel.Close()
}

// Remove takes the nft table out, for `nameroute down`.
func (h *Half) Remove(ctx context.Context) error {
	if h.kernel == nil {
		return nil
	}
	// What follows the kernel would put the table back.
	h.cancel()
	h.done.Wait()
	return h.kernel.Remove(ctx, gateway.TableName)
}
