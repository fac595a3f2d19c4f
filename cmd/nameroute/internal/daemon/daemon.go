// Package daemon runs nameroute: the parts in one process, their reload, their control
// socket and what systemd is told.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
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
	"github.com/nameroute/nameroute/gateway/sidecar"
	"github.com/nameroute/nameroute/plugin/dnshalf"
	"github.com/nameroute/nameroute/updater"
)

// process is one running nameroute.
type process struct {
	o       Options
	parts   []control.Part
	log     *slog.Logger
	server  *server             // nil without the dns half
	sidecar *sidecar.Controller // nil without the sidecar
	lists   *updater.Updater    // nil where the parts run apart: `update --daemon` is one of them then
	ended   chan error          // the sidecar's end
	quit    chan error          // how `down` went
	alive   chan struct{}       // the main loop takes from it whenever it is free
	ending  atomic.Bool         // `down` is at work
	began   time.Time
	inUse   atomic.Pointer[files]

	reloads  *reloads
	changing sync.Mutex             // a reload or `down` is at work
	seen     atomic.Pointer[digest] // of the files when they were last read
	failing  atomic.Bool            // they could not be taken up

	updating sync.WaitGroup
}

// Options are what a process is started with.
type Options struct {
	paths.Paths
	Parts   []control.Part
	Timers  sidecar.Timers // of the sidecar
	Version string         // of the program
}

// Run runs the parts until a signal or `down` ends it.
func Run(ctx context.Context, o Options) (err error) {
	spare()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	p := &process{o: o, parts: o.Parts, log: logging.New("gateway"), ended: make(chan error, 1), quit: make(chan error, 1), alive: make(chan struct{}), began: time.Now(), reloads: newReloads()}
	if err := privilege.Need(); err != nil {
		return err
	}
	locks := p.parts
	if p.whole() {
		locks = append(slices.Clone(p.parts), control.Update)
	}
	for _, q := range locks {
		l, err := control.TakeLock(o.Run, q)
		if err != nil {
			return err
		}
		defer l.Release()
	}
	f, err := o.load(p.parts)
	if err != nil {
		return err
	}
	if err := p.ports(f); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := p.start(ctx, f); err != nil {
		return errors.Join(err, p.stop(cancel))
	}
	c, err := control.Serve(control.Socket(o.Run, p.parts), map[string]func(context.Context) error{
		"reload": p.reloadNow,
		"down":   p.down,
	}, func() any { return p.status() })
	if err != nil {
		return errors.Join(err, p.stop(cancel))
	}
	p.announce(f)
	go p.feedWatchdog(ctx)
	go p.watchFiles(ctx)
	err = p.wait(signals)
	p.reloads.close(errors.New("nameroute is ending"))
	p.tell(daemon.SdNotifyStopping)
	c.Close()
	return errors.Join(err, p.stop(cancel))
}

// start brings up the parts. The sidecar goes first and switches forwarding on last,
// when the nft table stands.
func (p *process) start(ctx context.Context, f *files) error {
	table := make(chan struct{})
	if slices.Contains(p.parts, control.Gateway) {
		controller, err := sidecar.New(sidecar.Options{
			Config: f.config, State: p.o.State, Log: p.log, TableReady: p.tableReady(table), Timers: p.o.Timers,
		})
		if err != nil {
			return err
		}
		p.sidecar = controller
		go func() { p.ended <- controller.Run(ctx) }()
	}
	if slices.Contains(p.parts, control.DNS) {
		p.server = newServer(p.o, p.look)
		var err error
		if f, err = p.startServer(f); err != nil {
			return err
		}
	}
	close(table)
	p.inUse.Store(f)
	p.saw(f.seen)
	p.failing.Store(f.old != nil)
	if p.whole() {
		p.keepLists(ctx, f)
	}
	if f.old != nil {
		p.log.Error("the files as they are cannot be used; the last good state runs instead", "why", f.old)
		return nil
	}
	p.keep(f)
	return nil
}

// keep stores files that work. That they cannot be stored stops nothing.
func (p *process) keep(f *files) {
	if err := f.keep(p.o); err != nil {
		p.log.Warn("the next start could not fall back to these files", "why", err)
	}
}

// startServer starts the dns half, with the last good state where a list that is new
// in the files cannot be used.
func (p *process) startServer(f *files) (*files, error) {
	err := p.server.start(f)
	if err == nil || f.old != nil || exit.Code(err) != exit.List {
		return f, err
	}
	good, goodErr := p.o.loadGood(p.parts, err)
	if goodErr != nil {
		return f, err
	}
	good.seen = f.seen
	if p.sidecar != nil {
		p.sidecar.SetConfig(good.config)
	}
	return good, p.server.start(good)
}

// whole: all parts run in this process, the updater too.
func (p *process) whole() bool { return len(p.parts) > 1 }

// keepLists keeps the lists that have a URL fresh. No start waits for a download.
func (p *process) keepLists(ctx context.Context, f *files) {
	p.lists = updater.New(updater.Options{Config: f.config, State: p.o.State, Log: logging.New("updater")})
	p.updating.Go(func() { p.lists.Run(ctx) })
}

// announce says once what runs.
func (p *process) announce(f *files) {
	var routes []string
	for _, r := range f.config.Routes {
		routes = append(routes, r.Name)
	}
	p.log.Info("nameroute "+p.o.Version+" runs", "parts", p.parts, "lan", f.config.LAN, "routes", routes)
	p.tell(daemon.SdNotifyReady)
}

// wait returns when the process is to end.
func (p *process) wait(signals <-chan os.Signal) error {
	for {
		select {
		case <-p.alive:
		case s := <-signals:
			if s != syscall.SIGHUP {
				p.log.Info("ends; everything stays in place and the door stays closed", "signal", s.String())
				return nil
			}
			p.reloads.ask()
		case <-p.reloads.due:
			p.serveReload()
		case err := <-p.ended:
			p.ended <- nil // for stop
			if p.ending.Load() {
				return <-p.quit
			}
			if err != nil {
				return fmt.Errorf("the sidecar ended: %w", err)
			}
			return errors.New("the sidecar ended")
		case err := <-p.quit:
			return err
		}
	}
}

// down takes out what is ours and has the process end.
func (p *process) down(ctx context.Context) error {
	if p.ending.Swap(true) {
		return errors.New("it is going down already")
	}
	p.changing.Lock()
	defer p.changing.Unlock()
	var errs []error
	if p.sidecar != nil {
		errs = append(errs, p.sidecar.Down(ctx))
	}
	if p.server != nil {
		errs = append(errs, p.server.remove(ctx))
	}
	err := errors.Join(errs...)
	if err == nil {
		p.log.Info("all that was ours is taken out")
	}
	p.quit <- err
	return err
}

// stop ends the parts, tunnels last.
func (p *process) stop(cancel context.CancelFunc) error {
	var err error
	if p.server != nil {
		err = p.server.stop()
	}
	cancel()
	p.updating.Wait()
	if p.sidecar != nil {
		<-p.ended
	}
	return err
}

// status is what this process knows.
func (p *process) status() status.Doc {
	f := p.inUse.Load()
	me := status.Process{PID: os.Getpid(), Version: p.o.Version, Parts: p.parts, Since: p.began}
	if f.old != nil {
		me.LastGood = f.old.Error()
	}
	d := status.New(me, f.config)
	if p.server != nil {
		if h := dnshalf.Running(p.o.Config); h != nil {
			s, err := h.Snapshot()
			d.Problem(err)
			d.AddDNS(s)
		}
	}
	if p.sidecar != nil {
		d.AddSidecar(p.sidecar.Status())
	}
	d.CountLinks()
	return d
}

// ports finds listeners that another program holds, before anything is changed.
func (p *process) ports(f *files) error {
	if !slices.Contains(p.parts, control.DNS) {
		return nil
	}
	all, err := corecheck.Listeners(p.o.Input(f.corefile))
	if err != nil {
		return exit.With(exit.Corefile, err)
	}
	return errors.Join(ports.InUse(all)...)
}
