// Package sidecar is the controller that owns WireGuard tunnels, policy rules,
// routing tables and the sysctls that they need. It turns gateway.yaml and the
// kernel's events into changes, always by the difference between the two.
//
// An apply fails closed because of its order: policy rules and unreachable defaults
// first, then the tunnels (their firewall mark before anything else), then the
// routes' defaults. Tunnels get peers when the nft table is there, and forwarding is last.
package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/programs"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// Options are what a Controller needs.
type Options struct {
	Config     *gateway.Config
	State      string                      // the state directory
	TableReady func(context.Context) error // returns when the nft table is in place; nil: it is
	Log        *slog.Logger                // nil: slog.Default()
	Userspace  bool                        // new tunnels are embedded, even where the kernel has WireGuard
	Timers     Timers
	Advertised string // the file that keeps the resolvers of router advertisements; "": they are not followed
}

// Timers may be shortened by tests. Zero values are the defaults.
type Timers struct {
	Probe     time.Duration // how often tunnels and provider files are read; 2 s
	Handshake time.Duration // in place of the routes' Handshake.Limit; 0: those
	First     time.Duration // in place of the routes' Handshake.Timeout; 0: those
	Slow      time.Duration // how often everything is read without any event; 30 s
	RetryMin  time.Duration // first pause after a failure; 1 s, then doubled
	RetryMax  time.Duration // longest pause; 1 min
	Resolve   time.Duration // how often a silent tunnel tries another address; 15 s
}

func (t *Timers) fill() {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.Probe, 2 * time.Second}, {&t.Slow, 30 * time.Second},
		{&t.RetryMin, time.Second}, {&t.RetryMax, time.Minute}, {&t.Resolve, 15 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
}

// Controller keeps the kernel in the state that the configuration asks for. Its methods
// may be called by several goroutines.
type Controller struct {
	timers     Timers
	log        *slog.Logger
	watch      func(context.Context, func(policy.Kind)) error
	resolvers  *resolvers.Watcher
	advertised string
	tableReady func(context.Context) error
	wake       chan struct{} // capacity 1
	classes    chan struct{} // capacity 1; classes of programs may be others
	down       chan struct{} // closed by Down
	ready      chan struct{} // closed after the first apply

	work  sync.Mutex // held while the kernel is changed
	rec   *reconciler
	ended bool

	mu     sync.Mutex
	cfg    *gateway.Config
	table  bool // the nft table is in place
	todo   todo
	status Status
}

// todo is what has happened since the last step.
type todo struct {
	changed   bool // something that an apply must read
	resolvers bool // the WAN has other resolvers
	lookups   []lookup
	found     []group.Result // by probes
}

// New returns a Controller. It changes nothing yet.
func New(o Options) (*Controller, error) {
	s, err := openSystem(o.State)
	if err != nil {
		return nil, err
	}
	return newController(o, s), nil
}

func newController(o Options, s system) *Controller {
	o.Timers.fill()
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := &Controller{
		timers: o.Timers, log: o.Log, watch: s.watch, tableReady: o.TableReady,
		resolvers: resolvers.NewWatcher(), // before the first lookup reads what it watches
		wake:      make(chan struct{}, 1), classes: make(chan struct{}, 1), down: make(chan struct{}), ready: make(chan struct{}),
		advertised: o.Advertised, cfg: o.Config, table: o.TableReady == nil,
	}
	c.rec = newReconciler(o, s, c)
	return c
}

// String returns the name of this part of the process.
func (c *Controller) String() string { return "sidecar" }

// Ready returns a channel that is closed when the first apply has ended. Status says
// what it achieved.
func (c *Controller) Ready() <-chan struct{} { return c.ready }

// SetConfig replaces the configuration.
func (c *Controller) SetConfig(cfg *gateway.Config) {
	c.post(func(t *todo) { c.cfg, t.changed = cfg, true })
	select {
	case c.classes <- struct{}{}:
	default:
	}
}

// Status describes the routes.
func (c *Controller) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{Routes: slices.Clone(c.status.Routes)}
}

func (c *Controller) classesNow() []gateway.Clients {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Clients
}

// trigger requests an apply.
func (c *Controller) trigger() { c.post(func(t *todo) { t.changed = true }) }

// post adds to what the next step has to do, which comes at once. add is called with
// c.mu held.
func (c *Controller) post(add func(*todo)) {
	c.mu.Lock()
	add(&c.todo)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run reconciles until the context ends or Down is called. It leaves everything in place
// and the kill switch active. It is called once.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer func() {
		cancel()
		background.Wait()
		c.rec.prober.Stop()
		c.close()
	}()
	background.Go(func() { c.watchKernel(ctx) })
	background.Go(func() { programs.Watch(ctx, c.classesNow, c.classes, c.log, c.trigger) })
	background.Go(func() {
		c.resolvers.Run(ctx, func() { c.post(func(t *todo) { t.resolvers = true }) })
	})
	if c.advertised != "" {
		background.Go(func() { c.followAdvertisements(ctx) })
	}
	if c.tableReady != nil {
		background.Go(func() { c.awaitTable(ctx) })
	}
	ready := sync.OnceFunc(func() { close(c.ready) })
	for {
		pause := c.step(ctx, &background)
		ready()
		select {
		case <-ctx.Done():
			return nil
		case <-c.down:
			return nil
		case <-c.wake:
		case <-time.After(pause):
		}
	}
}

// step does what is due and returns the time until the next probe.
func (c *Controller) step(ctx context.Context, background *sync.WaitGroup) time.Duration {
	c.work.Lock()
	defer c.work.Unlock()
	if c.ended {
		return c.timers.Probe
	}
	c.mu.Lock()
	cfg, table, now := c.cfg, c.table, c.todo
	c.todo = todo{}
	c.mu.Unlock()

	postponed := c.rec.step(cfg, table, now)
	c.rec.startLookups(ctx, background, cfg)
	c.rec.startProbes(ctx)
	status := c.rec.statusNow()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.todo.changed = c.todo.changed || postponed // until the next probe
	c.status = status
	if c.rec.waits() {
		return min(c.timers.Probe, waitingProbe)
	}
	return c.timers.Probe
}

// followAdvertisements keeps the resolvers that routers advertise on links other than the
// LAN's, where this box is the router, and our tunnels, which have none.
func (c *Controller) followAdvertisements(ctx context.Context) {
	a := resolvers.Advertisements{File: c.advertised, Log: c.log, Solicited: func(link string) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return !slices.Contains(c.cfg.LAN, link) && !slices.ContainsFunc(c.cfg.Routes, func(r gateway.Route) bool {
			return r.Egress.Kind == gateway.EgressWireGuard && r.Egress.Link == link
		})
	}}
	a.Run(ctx)
}

// watchKernel turns the kernel's events into applies.
func (c *Controller) watchKernel(ctx context.Context) {
	for ctx.Err() == nil {
		err := c.watch(ctx, func(policy.Kind) { c.trigger() })
		if err != nil {
			c.log.Error("kernel events are lost, polling until they are back", "error", err)
		}
		sleep(ctx, c.timers.RetryMin)
	}
}

func (c *Controller) awaitTable(ctx context.Context) {
	for pause := c.timers.RetryMin; ctx.Err() == nil; pause = min(2*pause, c.timers.RetryMax) {
		err := c.tableReady(ctx)
		if err == nil {
			c.post(func(t *todo) { c.table, t.changed = true, true })
			return
		}
		if ctx.Err() == nil {
			c.log.Warn("nft table is missing, new tunnels and forwarding stay off", "error", err)
		}
		sleep(ctx, pause)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// close ends this process's part in everything and leaves it in place.
func (c *Controller) close() {
	c.work.Lock()
	defer c.work.Unlock()
	c.rec.closeTunnels()
	if !c.ended {
		c.ended = true
		c.rec.system.close()
	}
}

// Down removes everything that is ours: tunnels, policy rules, routing tables and the
// conntrack entries of the routes' flows; it restores the sysctls and ends Run. It works
// without Run, too, and does not stop at an error.
func (c *Controller) Down(ctx context.Context) error {
	c.work.Lock()
	defer c.work.Unlock()
	if c.ended {
		return errors.New("sidecar: has ended already")
	}
	c.ended = true
	close(c.down)
	c.mu.Lock()
	cfg := c.cfg
	c.mu.Unlock()
	defer c.rec.system.close()
	c.rec.prober.Stop() // before their routes are gone
	return errors.Join(c.rec.removeAll(cfg), ctx.Err())
}
