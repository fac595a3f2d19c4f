// Package daemon runs nameroute: its parts in one process, their reload, the control
// socket and what systemd is told.
package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/logging"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/ports"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/gateway/sidecar"
	"github.com/nameroute/nameroute/updater"
)

// Options are what a process is started with.
type Options struct {
	paths.Paths
	Parts   []control.Part // what runs in this process
	Version string         // of the program
	Sidecar sidecar.Timers
	Updater updater.Timers
}

func (o Options) has(p control.Part) bool { return slices.Contains(o.Parts, p) }

// served returns the parts that commands reach by the control socket: the updater
// listens to signals and files alone.
func (o Options) served() []control.Part {
	return slices.DeleteFunc(slices.Clone(o.Parts), func(p control.Part) bool { return p == control.Update })
}

// process is one running nameroute.
type process struct {
	o       Options
	log     *slog.Logger
	loader  loader
	members []member // they start in this order and stop in the reverse one
	group   group
	began   time.Time

	reloads  *reloadQueue
	look     chan struct{}                  // the host is to be looked at now
	quit     chan error                     // how `down` went
	alive    chan struct{}                  // the main loop reads it whenever it is idle
	ending   atomic.Bool                    // `down` is at work
	changing sync.Mutex                     // a reload or `down` is at work
	inUse    atomic.Pointer[files]          //
	lastRead atomic.Pointer[digest]         // what the files held when they were last read
	problems logonce.Edge                   // what was logged and still holds
	checks   atomic.Pointer[status.Checks]  // of the host; nil: not looked at yet
	failing  atomic.Pointer[status.Refused] // why they are not in use; nil: they are
}

func newProcess(o Options) *process {
	return &process{
		o: o, log: logging.New("nameroute"), loader: loader{o.Paths, o.has(control.DNS)}, began: time.Now(),
		group: newGroup(), reloads: newReloadQueue(), look: make(chan struct{}, 1), quit: make(chan error, 1), alive: make(chan struct{}),
	}
}

// Run runs the parts until ctx ends or `down` ends them. SIGHUP has it read its files
// again.
func Run(ctx context.Context, o Options) (err error) {
	addThreads()
	limitMemory()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	if err := privilege.Need(); err != nil {
		return err
	}
	p := newProcess(o)
	here := presence{p: p}
	defer here.end()
	if err := here.take(); err != nil {
		return err
	}
	f, err := p.loader.load()
	if err != nil {
		return err
	}
	if err := p.checkPorts(f); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.group.stop()) }()
	if err := p.start(ctx, f); err != nil {
		return err
	}
	if ctx.Err() != nil {
		p.logStop(ctx)
		return nil
	}
	if err := here.serve(); err != nil {
		return err
	}
	p.announce()
	background, cancel := context.WithCancel(ctx)
	defer cancel()
	go p.feedWatchdog(background)
	go p.watchFiles(background)
	if p.loader.resolver { // once for parts that run apart
		go p.watchHost(background)
	}
	var presences sync.WaitGroup
	presences.Go(func() { here.keep(background) })
	err = p.wait(ctx, hangup)
	p.reloads.close(errors.New("nameroute is stopping"))
	p.notify(daemon.SdNotifyStopping)
	cancel()
	presences.Wait()
	here.closeSocket()
	return err
}

// checkPorts returns an error for each listener whose port another program holds,
// before anything is changed.
func (p *process) checkPorts(f *files) error {
	if !p.loader.resolver {
		return nil
	}
	all, err := corecheck.Listeners(p.o.Input(f.corefile))
	if err != nil {
		return exit.With(exit.Corefile, err)
	}
	return errors.Join(ports.InUse(all)...)
}

// start starts the parts and returns when all are ready, or ctx ends.
func (p *process) start(ctx context.Context, f *files) error {
	p.inUse.Store(f)
	p.markRead(f.read)
	if err := p.compose(f); err != nil {
		return err
	}
	for _, m := range p.members {
		p.group.start(ctx, m)
	}
	if err := p.group.awaitReady(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	f = p.inUse.Load()
	if f.old != nil {
		p.failing.Store(&status.Refused{Error: f.old.Error(), Since: time.Now()})
		p.log.Error("the current files cannot be used, running the last good configuration", "error", f.old)
		return nil
	}
	p.save(f)
	return nil
}

// compose makes the members. The sidecar starts first and enables forwarding last, when
// the nft table exists.
func (p *process) compose(f *files) error {
	var dns *resolver
	var plane *dataplanePart
	var table <-chan struct{} // closed when the nft table exists; nil: another process makes it
	if p.o.has(control.DNS) {
		plane = newDataplane(p.o, f)
		dns = newResolver(p.o.Paths, f, plane, p.checkChanges, p.fallBack)
		table = dns.Ready()
	}
	if p.o.has(control.Gateway) {
		s, err := newSidecar(p.o, f, logging.New("sidecar"), table)
		if err != nil {
			return err
		}
		p.members = append(p.members, s)
		if dns != nil {
			dns.routed = s.Ready()
		}
	}
	if p.o.has(control.Update) {
		p.members = append(p.members, newUpdater(p.o, f, logging.New("updater"), table))
	}
	if p.o.has(control.DNS) {
		p.members = append(p.members, plane, dns)
	}
	return nil
}

// fallBack has all parts use the last good files, because a list that is new in the
// first ones cannot be used.
func (p *process) fallBack(reason error) (*files, error) {
	good, err := p.loader.lastGood(reason)
	if err != nil {
		return nil, err
	}
	p.inUse.Store(good)
	for _, m := range p.members {
		if _, ok := m.(*resolver); !ok { // it calls this, and starts with them
			_ = m.Use(good) // an error of lists, which status shows
		}
	}
	return good, nil
}

// save stores files that work. A start or reload does not fail over it.
func (p *process) save(f *files) {
	if err := p.loader.save(f); err != nil {
		p.log.Warn("the last good configuration cannot be stored", "error", err)
	}
}

// announce logs once what runs.
func (p *process) announce() {
	cfg := p.inUse.Load().config
	if slices.Equal(p.o.Parts, []control.Part{control.Update}) {
		var lists []string
		for _, s := range cfg.Sources {
			lists = append(lists, s.List)
		}
		p.log.Info("started", "version", p.o.Version, "parts", p.o.Parts, "lists", lists)
		if len(lists) == 0 {
			p.log.Warn("no list has a url: nothing is fetched until one has", "file", p.o.Config)
		}
		p.notify(daemon.SdNotifyReady)
		return
	}
	var routes []string
	for _, r := range cfg.Routes {
		routes = append(routes, r.Name)
	}
	p.log.Info("started", "version", p.o.Version, "parts", p.o.Parts, "lan", cfg.LAN, "routes", routes)
	p.notify(daemon.SdNotifyReady)
}

// wait returns when the process is to end.
func (p *process) wait(ctx context.Context, hangup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			p.logStop(ctx)
			return nil
		case <-p.alive:
		case <-hangup:
			p.reloads.request()
		case <-p.reloads.due:
			p.serveReload()
		case r := <-p.group.ended:
			if !p.ending.Load() {
				return r.failure()
			}
		case err := <-p.quit:
			return err
		}
	}
}

// signalName returns the signal that ended the context of a command.
func signalName(ctx context.Context) string {
	return strings.TrimSuffix(context.Cause(ctx).Error(), " signal received")
}

func (p *process) logStop(ctx context.Context) {
	if r := p.failing.Load(); r != nil { // it was logged long ago
		p.log.Error("stopped while the last good configuration was in use, not the current files", "error", r.Error)
	}
	if slices.Equal(p.o.Parts, []control.Part{control.Update}) {
		p.log.Info("stopping", "signal", signalName(ctx)) // there is nothing of it in the kernel
		return
	}
	p.log.Info("stopping; kill switch stays active", "signal", signalName(ctx))
}

// down removes everything of ours from the kernel and ends the process.
func (p *process) down(ctx context.Context) error {
	if p.ending.Swap(true) {
		return errors.New("another `nameroute down` is already running")
	}
	p.changing.Lock()
	defer p.changing.Unlock()
	var errs []error
	for _, m := range p.members {
		errs = append(errs, m.Down(ctx))
	}
	err := errors.Join(errs...)
	if err == nil {
		p.log.Info("removed everything that nameroute set up")
	}
	p.quit <- err
	return err
}

// status returns what this process knows.
func (p *process) status() status.Doc {
	f := p.inUse.Load()
	me := status.Process{PID: os.Getpid(), Version: p.o.Version, Parts: p.o.served(), Since: p.began}
	if me.Refused = p.failing.Load(); f.old != nil {
		me.LastGood, me.Refused = f.old.Error(), nil
	}
	d := status.New(me, f.config)
	d.Checks = p.checks.Load()
	for _, m := range slices.Backward(p.members) { // the sidecar last: it decides about routes
		m.Report(&d)
	}
	d.CountLinks()
	return status.Merge([]status.Doc{d})
}
