// Package dataplane is the controller that owns the nft table and what it has learned.
// It turns gateway.yaml, the lists, the answers that the plugins admit and the kernel's
// events into nft rules and set elements, always by the difference between the two.
//
// It is open from New until Run ends. What a Corefile needs of it is selected with
// Require, which opens nothing: requirements that cannot be met change nothing.
package dataplane

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/pkg/epoch"
	"github.com/nameroute/nameroute/gateway/pkg/hold"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/gateway/programs"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/lists"
)

// Options are what a Controller needs.
type Options struct {
	Config *gateway.Config
	State  string // directory of learned addresses and of the lists' last good copies
	// IsAlias reports whether a name counts as listed on one of the lists because the
	// answer for a listed name leads to it; nil: no name does.
	IsAlias func(name string, lists []string) bool
	// MarkWriters names the rules of other programs that write bits of the mark that are
	// ours, for the log; nil: none is named.
	MarkWriters func(mask gateway.Mask) ([]string, error)
	Holder      *hold.Client // keeps an owned table owned while no process runs; nil: nothing does
	Log         *slog.Logger // of the process, without a part; nil: slog.Default()
	Timers      Timers
}

// Timers may be shortened by tests. Zero values are the defaults.
type Timers struct {
	Slow      time.Duration // between two reads of the kernel without an event; 30 s
	Retry     time.Duration // pause after the kernel refused something; 1 s
	FamilyLag time.Duration // how long a route may lack the IPv6 default; 3 s
	Removed   time.Duration // how long the mark of a removed route stays blocked; 3 s
}

func (t *Timers) fill() {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.Slow, 30 * time.Second}, {&t.Retry, time.Second}, {&t.FamilyLag, 3 * time.Second}, {&t.Removed, 3 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
}

// Controller keeps the nft table as the configuration and the requirements say. Its
// methods may be called concurrently.
type Controller struct {
	opts         Options
	timers       Timers
	log          *slog.Logger
	config       atomic.Pointer[gateway.Config]
	lists        *lists.Library
	providers    *provider.Store // the sidecar writes its copies
	system       system
	kernel       kernel
	evict        *evictor
	destinations atomic.Pointer[destinations] // of the table in force; nil before
	store        *keeper
	edge         logonce.Edge // of messages that are not repeated

	kick     chan struct{} // capacity 1; see Kick
	classes  chan struct{} // capacity 1; classes of programs may be others
	prune    chan struct{} // capacity 1; see RequestPrune
	changes  atomic.Uint64 // of lists and blocks
	ready    chan struct{} // closed when requirements are met for the first time
	end      chan struct{} // closed by Down
	ended    chan struct{} // closed when Run has ended
	started  atomic.Bool   // Run was called
	isReady  sync.Once
	isEnding sync.Once

	settingMu sync.Mutex // held by SetConfig
	listErrs  []error    // of the last one

	work       sync.Mutex                 // held while the table is brought up to date
	closed     bool                       // the kernel's side is
	found      map[string]resolvers.Found // the last known resolvers, by route
	redirected gateway.Redirect           // the one by which flows of queries were last decided

	mu       sync.Mutex
	required []Requirements
	states   map[string]*atomic.Pointer[State] // by route name; never removed
	wan      []string                          // the WAN's links when it last had any
	removed  map[gateway.Mark]time.Time        // marks of removed routes, and since when
	closings map[string]closing                // by route name
	redirect error                             // what of redirect_dns cannot be had

	meters   sync.Map // *lastminute.Addresses, what routes learned, by route name
	pressure pressure
	missing  missing
}

// New returns a Controller on the kernel of this box, and reads the lists. Without the
// privilege to write nft tables it is returned all the same: Require fails then for what
// needs one.
func New(o Options) (*Controller, error) {
	return newController(o, newBox(), func(o learned.Options) (kernel, error) { return learned.Open(o) })
}

func newController(o Options, s system, open func(learned.Options) (kernel, error)) (*Controller, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Timers.fill()
	c := &Controller{
		opts: o, timers: o.Timers, log: o.Log.With("part", "dataplane"), system: s, providers: provider.NewStore(o.State),
		kick: make(chan struct{}, 1), classes: make(chan struct{}, 1), prune: make(chan struct{}, 1),
		ready: make(chan struct{}), end: make(chan struct{}), ended: make(chan struct{}),
		states: map[string]*atomic.Pointer[State]{}, removed: map[gateway.Mark]time.Time{}, closings: map[string]closing{},
	}
	c.config.Store(o.Config)
	c.pressure = pressure{log: c.log, full: logonce.Every{Interval: fullAgain, Quiet: true}}
	c.pressure.setGrace(o.Config)
	c.openLists()
	c.evict = newEvictor(c)
	k, err := open(c.learnedOptions())
	if err != nil {
		k = noKernel{err}
	}
	c.kernel = k
	c.store = newKeeper(c, filepath.Join(o.State, "learned"))
	return c, nil
}

func (c *Controller) learnedOptions() learned.Options {
	o := learned.Options{Table: gateway.TableName, Owner: c.opts.Config.Owner, OnLoss: c.onLoss, OnGap: c.evict.onGap, OnFull: c.pressure.onFull, Grace: c.pressure.reclaimable}
	if c.opts.Holder != nil { // an interface that holds nil is not nil
		o.Holder = c.opts.Holder
	}
	return o
}

// String returns the name of this part of the process.
func (c *Controller) String() string { return "dataplane" }

// Ready returns a channel that is closed when requirements were met for the first time:
// where they want an nft table, it is there.
func (c *Controller) Ready() <-chan struct{} { return c.ready }

// Config returns the gateway.yaml in force.
func (c *Controller) Config() *gateway.Config { return c.config.Load() }

// SetConfig makes another configuration the one in force. When it returns, the lists are
// those of the configuration; the nft table follows at once. A list that cannot be read
// keeps its last good content: see ListErrors.
func (c *Controller) SetConfig(cfg *gateway.Config) {
	c.settingMu.Lock()
	defer c.settingMu.Unlock()
	c.mu.Lock() // a refresh that sees the new configuration sees what is noted of the old one
	old := c.config.Swap(cfg)
	epoch.Advance()
	c.markRemoved(old, cfg)
	c.noteClosing(old, cfg)
	c.mu.Unlock()
	c.pressure.setGrace(cfg)
	_, c.listErrs = c.lists.SetLists(cfg.Lists)
	c.reportLists()
	wake(c.classes)
	c.Kick()
	c.RequestPrune()
}

// Run keeps the nft table up to date until the context ends or Down is called. It leaves
// the table in place and the kill switch active. It is called once.
func (c *Controller) Run(ctx context.Context) error {
	c.started.Store(true)
	defer close(c.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var tasks sync.WaitGroup
	tasks.Go(func() {
		select {
		case <-c.end:
			cancel()
		case <-ctx.Done():
		}
	})
	tasks.Go(func() { c.lists.Watch(ctx, func() { c.reportLists(); c.Kick(); c.RequestPrune() }) })
	tasks.Go(func() { c.watch(ctx) })
	tasks.Go(func() { c.watchHolder(ctx) })
	tasks.Go(func() {
		programs.Watch(ctx, func() []gateway.Clients { return c.Config().Clients }, c.classes, c.log, c.Kick)
	})
	// What follows works on requirements.
	for _, task := range []func(context.Context){c.follow, c.watchMarks, c.store.run, c.evict.run, c.pruneLoop, c.prolongLoop} {
		tasks.Go(func() {
			select {
			case <-c.ready:
				task(ctx)
			case <-ctx.Done():
			}
		})
	}
	tasks.Wait()
	c.work.Lock()
	defer c.work.Unlock()
	select {
	case <-c.end: // Down still needs the kernel
		return nil
	default:
	}
	c.closed = true
	return c.kernel.Close()
}

// Down ends Run and removes the nft table. It works without Run, too.
func (c *Controller) Down(ctx context.Context) error {
	c.work.Lock()
	if c.closed {
		c.work.Unlock()
		return errors.New("dataplane: has ended already")
	}
	c.isEnding.Do(func() { close(c.end) })
	c.work.Unlock()
	if c.started.Load() { // it would put the table back
		select {
		case <-c.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.work.Lock()
	defer c.work.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	return errors.Join(c.kernel.Remove(ctx), c.kernel.Close())
}

// Kick makes the controller read the kernel soon.
func (c *Controller) Kick() { wake(c.kick) }

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watch turns the kernel's events into kicks.
func (c *Controller) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.system.Watch(ctx, c.Kick); err != nil && ctx.Err() == nil {
			c.log.Error("kernel events are lost, the kernel is read slowly until they are back", "interval", c.timers.Slow, "error", err)
		}
		sleep(ctx, c.timers.Retry)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// follow keeps the nft table and the routes' states in step with the kernel.
func (c *Controller) follow(ctx context.Context) {
	failing := false
	for {
		wait := c.timers.Slow
		if failing {
			wait = c.timers.Retry
		}
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
		case <-time.After(wait):
		}
		err := c.refresh(ctx)
		if ctx.Err() != nil {
			return
		}
		switch began, ended := c.edge.Failing("nft table", err); {
		case began:
			c.log.Error("the nft table is not up to date, trying again", "interval", c.timers.Retry, "error", err)
		case ended:
			c.log.Info("the nft table is up to date again")
		}
		failing = err != nil
	}
}

// onLoss handles a change by another program to what is ours.
func (c *Controller) onLoss(l learned.Loss) {
	what := strings.Join(l.What, ", ")
	if l.Err != nil {
		c.log.Error("another program changed our nft table, it is not restored yet", "what", what, "error", l.Err)
		return
	}
	c.log.Warn("another program changed our nft table, restored", "what", what, "took", l.Took.Round(time.Microsecond))
}
