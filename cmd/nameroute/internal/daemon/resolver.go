package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/coredns"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/ports"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// resolver runs CoreDNS. Run and Use are never called at the same time: two restarts at
// once would leak references.
type resolver struct {
	paths  paths.Paths
	first  *files         // to start with
	plane  *dataplanePart // that the plugins use
	inst   atomic.Pointer[coredns.Instance]
	bound  atomic.Pointer[[]firewall.Listener] // what the instance's Corefile named when it started
	certs  digest                              // of the certificates that the instance has
	routed <-chan struct{}                     // closed when the sidecar has applied once; nil: another process does
	ready  chan struct{}
	health listenerHealth

	// fallBack returns the last good files where the first ones name a list that cannot
	// be used.
	fallBack func(reason error) (*files, error)
}

// errReloadsItself is what CoreDNS's reload plugin gets for a Corefile at each tick. It
// skips the tick then and never restarts anything itself.
var errReloadsItself = errors.New("nameroute does the reload")

// newResolver prepares the process for CoreDNS, once. tick is called at each tick of
// CoreDNS's reload plugin. (Without a registered loader the plugin would replace the
// server by CoreDNS's default one.)
func newResolver(p paths.Paths, f *files, plane *dataplanePart, tick func(), fallBack func(error) (*files, error)) *resolver {
	dnsserver.Quiet = true // our own line says what it would print
	caddy.RegisterCaddyfileLoader("nameroute", caddy.LoaderFunc(func(string) (caddy.Input, error) {
		tick()
		return nil, errReloadsItself
	}))
	r := &resolver{paths: p, first: f, plane: plane, ready: make(chan struct{}), fallBack: fallBack}
	r.health = listenerHealth{current: r.listeners, answered: map[netip.AddrPort]bool{}}
	return r
}

func (r *resolver) String() string         { return "resolver" }
func (r *resolver) Ready() <-chan struct{} { return r.ready }

// Run serves until ctx ends. It is ready when the nft table exists and the listeners
// are open; a stop leaves the table as it is.
func (r *resolver) Run(ctx context.Context) error {
	select {
	case <-r.plane.opened:
	case <-ctx.Done():
		return nil
	}
	r.awaitRoutes(ctx)
	err := r.start(r.first)
	if exit.Code(err) == exit.List && r.first.old == nil {
		if good, goodErr := r.fallBack(err); goodErr == nil {
			err = r.start(good)
		}
	}
	if err != nil {
		return err
	}
	close(r.ready)
	<-ctx.Done()
	r.inst.Load().Stop()
	return nil
}

// routesLimit is how long DNS waits for the sidecar's first apply, which takes a fraction
// of a second.
const routesLimit = 10 * time.Second

// awaitRoutes returns when the sidecar has set up the routes. Before that each is down, and
// with `on_down: wan` its names would be queried via the WAN.
func (r *resolver) awaitRoutes(ctx context.Context) {
	if r.routed == nil {
		return
	}
	select {
	case <-r.routed:
	case <-time.After(routesLimit):
	case <-ctx.Done():
	}
}

func (r *resolver) start(f *files) error {
	r.noteBound(r.paths.Input(f.corefile))
	inst, err := coredns.Start(r.paths.Input(f.corefile))
	if err == nil {
		r.inst.Store(inst)
		r.certs = f.certs
		return nil
	}
	err = f.text.Explain(err)
	if errors.Is(err, dataplane.ErrList) {
		return exit.With(exit.List, err)
	}
	return ports.Explain(err)
}

// Use applies a changed Corefile, or changed certificates, which restarts CoreDNS's servers. What the new one names
// is in the new configuration, so the dataplane uses that from the new instance's start on.
func (r *resolver) Use(f *files) error {
	inst := r.inst.Load()
	if bytes.Equal(inst.Caddyfile().Body(), f.corefile) && r.certs == f.certs && !r.boundElsewhere() {
		return nil
	}
	plane := r.plane.running.Load()
	old := plane.Config()
	withdraw := instance.Offer(f.config)
	err := r.restart(inst, f)
	withdraw()
	if err == nil {
		countRestart(f.corefile)
		return nil
	}
	if plane.Config() != old {
		plane.SetConfig(old)
	}
	return fmt.Errorf("keeping the running Corefile: %w", f.text.Explain(err))
}

// restart has a new instance take over the listeners of the old one.
func (r *resolver) restart(old *coredns.Instance, f *files) error {
	in := r.paths.Input(f.corefile)
	if err := openable(in, old.Caddyfile()); err != nil {
		return err
	}
	r.noteBound(in)
	next, err := old.Restart(in)
	if err != nil {
		return err
	}
	r.inst.Store(next)
	r.certs = f.certs
	return nil
}

// noteBound stores what a Corefile names at the moment at which it is started.
func (r *resolver) noteBound(in caddy.Input) {
	if all, err := corecheck.Listeners(in); err == nil { // else the start fails too
		r.bound.Store(&all)
	}
}

// boundElsewhere reports whether an interface that the Corefile binds has other addresses
// than when it was started.
func (r *resolver) boundElsewhere() bool {
	bound := r.bound.Load()
	now, err := r.listeners()
	return err == nil && bound != nil && !slices.Equal(*bound, now)
}

// openable returns an error for each new listener that cannot be opened. A restart would
// only name the first.
func openable(next, old caddy.Input) error {
	want, err := corecheck.Listeners(next)
	if err != nil {
		return err
	}
	have, err := corecheck.Listeners(old)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range want {
		ours := slices.ContainsFunc(have, func(h firewall.Listener) bool { return h.Port == l.Port && h.Proto == l.Proto })
		if slices.Contains(have, l) {
			continue
		}
		// A listener is opened ahead of its address.
		if err := ports.Try(l); err != nil && !(ours && ports.IsInUse(err)) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			errs = append(errs, ports.Explain(err))
		}
	}
	return errors.Join(errs...)
}

// Down removes nothing: the nft table is the dataplane's.
func (r *resolver) Down(context.Context) error { return nil }

// Report adds nothing: the dataplane knows the blocks and upstreams.
func (r *resolver) Report(*status.Doc) {}

// Check queries the listeners.
func (r *resolver) Check(ctx context.Context) error { return r.health.check(ctx) }

// listeners returns those of the Corefile that is served now.
func (r *resolver) listeners() ([]firewall.Listener, error) {
	inst := r.inst.Load()
	if inst == nil {
		return nil, errors.New("no server is running")
	}
	return corecheck.Listeners(inst.Caddyfile())
}
