// Package sidecar is the controller that owns WireGuard tunnels, policy rules,
// routing tables and the sysctls that they need. It turns gateway.yaml and the
// kernel's events into changes, always by the difference between the two.
//
// An apply fails closed because of its order: policy rules and unreachable defaults
// first, then the tunnels (their firewall mark before anything else), then the
// routes' defaults, and forwarding last, when the nft table is there.
package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/gateway/wg"
)

// Options are what a Controller needs.
type Options struct {
	Config     *gateway.Config
	State      string                      // directory of what is remembered
	TableReady func(context.Context) error // returns when the nft table stands; nil: none is waited for
	Log        *slog.Logger                // nil: slog.Default()
	Userspace  bool                        // new tunnels are embedded, even where the kernel has WireGuard
	Timers     Timers
}

// Timers may be shortened by tests. Zero values are the defaults.
type Timers struct {
	Probe     time.Duration // between two looks at tunnels and provider files; 2 s
	Handshake time.Duration // age of a handshake that no longer proves the far end; 180 s
	Slow      time.Duration // between two looks at everything without any event; 30 s
	RetryMin  time.Duration // first pause after something failed; 1 s, then doubled
	RetryMax  time.Duration // longest pause; 1 min
	Resolve   time.Duration // between two addresses that a silent tunnel tries; 15 s
}

func (t *Timers) fill() {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.Probe, 2 * time.Second}, {&t.Handshake, wg.DefaultHandshakeLimit}, {&t.Slow, 30 * time.Second},
		{&t.RetryMin, time.Second}, {&t.RetryMax, time.Minute}, {&t.Resolve, 15 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
}

// Controller keeps the kernel as the configuration says. Its methods may be called by
// several goroutines.
type Controller struct {
	opts      Options
	log       *slog.Logger
	kernel    *policy.Kernel
	watcher   *resolvers.Watcher
	providers *provider.Store
	kick      chan struct{} // capacity 1
	end       chan struct{} // closed by Down
	began     chan struct{} // closed after the first apply

	work    sync.Mutex // held while the kernel is changed
	tunnels map[string]*tunnel
	said    map[string]string // the last message on each subject, which is not repeated
	ended   bool
	looked  time.Time
	storm   storm
	wan     string // the WAN's defaults as applied

	mu        sync.Mutex
	cfg       *gateway.Config
	ready     bool // the nft table stands
	news      bool // something changed that a look at everything must find
	resolvers bool // the WAN has others now
	status    Status
	results   []resolved
}

// New returns a Controller. It changes nothing yet.
func New(o Options) (*Controller, error) {
	k, err := policy.Open(o.State)
	if err != nil {
		return nil, fmt.Errorf("sidecar: %w", err)
	}
	o.Timers.fill()
	c := &Controller{
		opts: o, log: o.Log, kernel: k, providers: provider.NewStore(o.State), cfg: o.Config, watcher: resolvers.NewWatcher(),
		kick: make(chan struct{}, 1), end: make(chan struct{}), began: make(chan struct{}),
		tunnels: map[string]*tunnel{}, said: map[string]string{}, ready: o.TableReady == nil,
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	return c, nil
}

// SetConfig makes another configuration the wanted one.
func (c *Controller) SetConfig(cfg *gateway.Config) {
	c.mu.Lock()
	c.cfg = cfg
	c.mu.Unlock()
	c.Kick()
}

// String returns the name of this part of the process.
func (c *Controller) String() string { return "sidecar" }

// Ready returns a channel that is closed when the first apply has ended. Status says
// what it achieved.
func (c *Controller) Ready() <-chan struct{} { return c.began }

// Kick makes the loop look at everything soon.
func (c *Controller) Kick() {
	c.mu.Lock()
	c.news = true
	c.mu.Unlock()
	c.wake()
}

// otherResolvers has endpoint names looked up again: the old resolvers may have been
// out of reach.
func (c *Controller) otherResolvers() {
	c.mu.Lock()
	c.resolvers = true
	c.mu.Unlock()
	c.wake()
}

func (c *Controller) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// Run keeps things as they should be until the context ends or Down is called. It
// leaves everything in place and the door closed. It is called once.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer func() {
		cancel()
		background.Wait()
		c.close()
	}()
	background.Go(func() { c.watch(ctx) })
	background.Go(func() { c.watcher.Run(ctx, c.otherResolvers) })
	if c.opts.TableReady != nil {
		background.Go(func() { c.awaitTable(ctx) })
	}
	probe := time.NewTicker(c.opts.Timers.Probe)
	defer probe.Stop()
	ready := sync.OnceFunc(func() { close(c.began) })
	for {
		c.step(ctx, &background)
		ready()
		select {
		case <-ctx.Done():
			return nil
		case <-c.end:
			return nil
		case <-c.kick:
		case <-probe.C:
		}
	}
}

// watch turns the kernel's events into kicks.
func (c *Controller) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := policy.Watch(ctx, func(k policy.Kind) {
			if k != policy.Networks || c.hasNextHops() {
				c.Kick()
			}
		})
		if err != nil {
			c.log.Error("events are lost, the kernel is looked at slowly until they are back", "error", err)
		}
		sleep(ctx, c.opts.Timers.RetryMin)
	}
}

// hasNextHops: whether a next hop is reached depends on every kernel route; nothing else does.
func (c *Controller) hasNextHops() bool {
	return slices.ContainsFunc(c.config().Routes, func(r gateway.Route) bool { return len(r.Egress.NextHops) > 0 })
}

func (c *Controller) config() *gateway.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg
}

func (c *Controller) awaitTable(ctx context.Context) {
	for pause := c.opts.Timers.RetryMin; ctx.Err() == nil; pause = min(2*pause, c.opts.Timers.RetryMax) {
		err := c.opts.TableReady(ctx)
		if err == nil {
			c.mu.Lock()
			c.ready = true
			c.mu.Unlock()
			c.Kick()
			return
		}
		if ctx.Err() == nil {
			c.log.Warn("the nft table is not there, forwarding is not switched on", "error", err)
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

// step looks at the tunnels and, where that or an event asks for it, at everything.
func (c *Controller) step(ctx context.Context, background *sync.WaitGroup) {
	c.work.Lock()
	defer c.work.Unlock()
	if c.ended {
		return
	}
	c.mu.Lock()
	cfg, ready, news, results, resolvers := c.cfg, c.ready, c.news, c.results, c.resolvers
	c.news, c.results, c.resolvers = false, nil, false
	c.mu.Unlock()

	now := time.Now()
	for _, r := range results {
		news = c.take(r, now) || news
	}
	for _, t := range c.tunnels {
		news = t.look(now) || news
		if resolvers {
			t.wanChanged()
		}
	}
	if news && c.storm.blows(now) && now.Sub(c.looked) < c.opts.Timers.RetryMin {
		c.problem("changes do not last", fmt.Errorf("%s", c.storm.text))
		c.mu.Lock()
		c.news = true // at the next probe
		c.mu.Unlock()
	} else if news || now.Sub(c.looked) >= c.opts.Timers.Slow {
		c.looked = now
		c.apply(cfg, ready)
	}
	for _, t := range c.tunnels {
		t.resolve(ctx, background, cfg)
	}
	c.publish()
}

// maxTold is how many changes of one apply are logged one by one. More are a first
// start or a removal, of which one line says enough.
const maxTold = 4

// changed logs what an apply changed in the kernel.
func (c *Controller) changed(changes []string, about ...any) {
	level := slog.LevelInfo
	if len(changes) > maxTold {
		level = slog.LevelDebug
		c.log.Info("changed", append([]any{"count", len(changes), "first", changes[0]}, about...)...)
	}
	for _, change := range changes {
		c.log.Log(context.Background(), level, "changed", append([]any{"what", change}, about...)...)
	}
}

// problem logs an error, but not the same one again; nil ends it.
func (c *Controller) problem(subject string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if c.said[subject] != text && err != nil {
		c.log.Error(subject, "error", err)
	}
	c.said[subject] = text
}

// close ends this process's part in everything, and leaves it in place.
func (c *Controller) close() {
	c.work.Lock()
	defer c.work.Unlock()
	for _, t := range c.tunnels {
		t.close()
	}
	if !c.ended {
		c.ended = true
		c.kernel.Close()
	}
}

// Down removes all that is ours: tunnels, rules, routing tables, the conntrack
// entries of the routes' flows; puts the sysctls back, and ends Run. It works
// without Run too, and goes on after an error.
func (c *Controller) Down(ctx context.Context) error {
	c.work.Lock()
	defer c.work.Unlock()
	if c.ended {
		return errors.New("sidecar: has ended already")
	}
	c.ended = true
	close(c.end)
	defer c.kernel.Close()
	have, err := c.kernel.Read()
	errs := []error{err}
	changes, err := c.kernel.Remove()
	c.changed(changes)
	errs = append(errs, err, c.forgetFlows(have, policy.State{}))
	for _, t := range c.tunnels {
		t.close()
	}
	errs = append(errs, c.removeLinks(func(string) bool { return false }), c.providers.Prune(nil))
	return errors.Join(append(errs, ctx.Err())...)
}
