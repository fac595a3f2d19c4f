// Package reconcile is the sidecar: one loop that turns gateway.yaml and the
// kernel's events into tunnels, routing tables, policy rules and sysctls, always by
// the difference.
//
// The order of an apply is what keeps the door closed: rules and backstops first,
// then the tunnels (their firewall mark before all else), then the routes' defaults,
// and forwarding last, when the nft table stands.
package reconcile

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
	"github.com/nameroute/nameroute/gateway/wg"
)

// Options are what a Loop needs.
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

// Loop keeps the kernel as the configuration says. Its methods may be called by
// several goroutines.
type Loop struct {
	opts   Options
	log    *slog.Logger
	kernel *policy.Kernel
	kick   chan struct{} // capacity 1
	end    chan struct{} // closed by Down

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

// New makes a Loop. It changes nothing yet.
func New(o Options) (*Loop, error) {
	k, err := policy.Open(o.State)
	if err != nil {
		return nil, fmt.Errorf("sidecar: %w", err)
	}
	o.Timers.fill()
	l := &Loop{
		opts: o, log: o.Log, kernel: k, cfg: o.Config,
		kick: make(chan struct{}, 1), end: make(chan struct{}),
		tunnels: map[string]*tunnel{}, said: map[string]string{}, ready: o.TableReady == nil,
	}
	if l.log == nil {
		l.log = slog.Default()
	}
	return l, nil
}

// SetConfig makes another configuration the wanted one.
func (l *Loop) SetConfig(c *gateway.Config) {
	l.mu.Lock()
	l.cfg = c
	l.mu.Unlock()
	l.Kick()
}

// Kick makes the loop look at everything soon.
func (l *Loop) Kick() {
	l.mu.Lock()
	l.news = true
	l.mu.Unlock()
	l.wake()
}

// otherResolvers has endpoint names looked up again: the old resolvers may have been
// out of reach.
func (l *Loop) otherResolvers() {
	l.mu.Lock()
	l.resolvers = true
	l.mu.Unlock()
	l.wake()
}

func (l *Loop) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Run keeps things as they should be until the context ends or Down is called. It
// leaves everything in place and the door closed. It is called once.
func (l *Loop) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer func() {
		cancel()
		background.Wait()
		l.close()
	}()
	background.Go(func() { l.watch(ctx) })
	background.Go(func() { policy.WatchResolvers(ctx, l.otherResolvers) })
	if l.opts.TableReady != nil {
		background.Go(func() { l.awaitTable(ctx) })
	}
	probe := time.NewTicker(l.opts.Timers.Probe)
	defer probe.Stop()
	for {
		l.step(ctx, &background)
		select {
		case <-ctx.Done():
			return nil
		case <-l.end:
			return nil
		case <-l.kick:
		case <-probe.C:
		}
	}
}

// watch turns the kernel's events into kicks.
func (l *Loop) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := policy.Watch(ctx, func(k policy.Kind) {
			if k != policy.Networks || l.hasNextHops() {
				l.Kick()
			}
		})
		if err != nil {
			l.log.Error("events are lost, the kernel is looked at slowly until they are back", "error", err)
		}
		sleep(ctx, l.opts.Timers.RetryMin)
	}
}

// hasNextHops: whether a next hop is reached depends on every kernel route; nothing else does.
func (l *Loop) hasNextHops() bool {
	return slices.ContainsFunc(l.config().Routes, func(r gateway.Route) bool { return len(r.Egress.NextHops) > 0 })
}

func (l *Loop) config() *gateway.Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg
}

func (l *Loop) awaitTable(ctx context.Context) {
	for pause := l.opts.Timers.RetryMin; ctx.Err() == nil; pause = min(2*pause, l.opts.Timers.RetryMax) {
		err := l.opts.TableReady(ctx)
		if err == nil {
			l.mu.Lock()
			l.ready = true
			l.mu.Unlock()
			l.Kick()
			return
		}
		if ctx.Err() == nil {
			l.log.Warn("the nft table is not there, forwarding is not switched on", "error", err)
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
func (l *Loop) step(ctx context.Context, background *sync.WaitGroup) {
	l.work.Lock()
	defer l.work.Unlock()
	if l.ended {
		return
	}
	l.mu.Lock()
	cfg, ready, news, results, resolvers := l.cfg, l.ready, l.news, l.results, l.resolvers
	l.news, l.results, l.resolvers = false, nil, false
	l.mu.Unlock()

	now := time.Now()
	for _, r := range results {
		news = l.take(r, now) || news
	}
	for _, t := range l.tunnels {
		news = t.look(now) || news
		if resolvers {
			t.wanChanged()
		}
	}
	if news && l.storm.blows(now) && now.Sub(l.looked) < l.opts.Timers.RetryMin {
		l.problem("changes do not last", fmt.Errorf("%s", l.storm.text))
		l.mu.Lock()
		l.news = true // at the next probe
		l.mu.Unlock()
	} else if news || now.Sub(l.looked) >= l.opts.Timers.Slow {
		l.looked = now
		l.apply(cfg, ready)
	}
	for _, t := range l.tunnels {
		t.resolve(ctx, background, cfg)
	}
	l.publish()
}

// maxTold is how many changes of one apply are logged one by one. More are a first
// start or a removal, of which one line says enough.
const maxTold = 4

// changed logs what an apply changed in the kernel.
func (l *Loop) changed(changes []string, about ...any) {
	level := slog.LevelInfo
	if len(changes) > maxTold {
		level = slog.LevelDebug
		l.log.Info("changed", append([]any{"count", len(changes), "first", changes[0]}, about...)...)
	}
	for _, c := range changes {
		l.log.Log(context.Background(), level, "changed", append([]any{"what", c}, about...)...)
	}
}

// problem logs an error, but not the same one again; nil ends it.
func (l *Loop) problem(subject string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if l.said[subject] != text && err != nil {
		l.log.Error(subject, "error", err)
	}
	l.said[subject] = text
}

// close ends this process's part in everything, and leaves it in place.
func (l *Loop) close() {
	l.work.Lock()
	defer l.work.Unlock()
	for _, t := range l.tunnels {
		t.close()
	}
	if !l.ended {
		l.ended = true
		l.kernel.Close()
	}
}

// Down removes all that is ours: tunnels, rules, routing tables, the conntrack
// entries of the routes' flows; puts the sysctls back, and ends Run. It works
// without Run too, and goes on after an error.
func (l *Loop) Down(ctx context.Context) error {
	l.work.Lock()
	defer l.work.Unlock()
	if l.ended {
		return errors.New("sidecar: has ended already")
	}
	l.ended = true
	close(l.end)
	defer l.kernel.Close()
	have, err := l.kernel.Read()
	errs := []error{err}
	changes, err := l.kernel.Remove()
	l.changed(changes)
	errs = append(errs, err, l.forgetFlows(have, policy.State{}))
	for _, t := range l.tunnels {
		t.close()
	}
	errs = append(errs, l.removeLinks(func(string) bool { return false }), l.forgetProviders(func(gateway.Route) bool { return false }))
	return errors.Join(append(errs, ctx.Err())...)
}
