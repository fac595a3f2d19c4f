package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/ports"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/plugin/dnshalf"
)

// server runs CoreDNS with the dns half. Its methods that change something are called
// by one goroutine at a time: two restarts at once would leak references.
type server struct {
	o    Options
	inst atomic.Pointer[caddy.Instance] // the one that serves now
}

// errReloadsItself is what CoreDNS's reload plugin gets for a Corefile at each tick. It
// skips the tick then and never restarts anything by itself, at a moment of its own.
var errReloadsItself = errors.New("nameroute reloads by itself")

// newServer prepares the process for CoreDNS, once. tick is called at each tick of
// CoreDNS's reload plugin. (Without a loader of ours the plugin would replace the
// server by CoreDNS's default one.)
func newServer(o Options, tick func()) *server {
	s := &server{o: o}
	dnsserver.Quiet = true // what it would print is in our own line
	caddy.RegisterCaddyfileLoader("nameroute", caddy.LoaderFunc(func(string) (caddy.Input, error) {
		tick()
		return nil, errReloadsItself
	}))
	return s
}

// start starts CoreDNS. When it returns, the nft table stands and the listeners are
// open.
func (s *server) start(f *files) error {
	defer dnshalf.UseConfig(f.config)()
	inst, err := caddy.Start(s.o.Input(f.corefile))
	if err == nil {
		s.inst.Store(inst)
		return nil
	}
	err = f.text.Explain(err)
	if errors.Is(err, dnshalf.ErrList) {
		return exit.With(exit.List, err)
	}
	return ports.Explain(err)
}

// instance is the instance that serves now; nil before the start.
func (s *server) instance() *caddy.Instance { return s.inst.Load() }

// reload takes up changed files. Only a changed Corefile restarts CoreDNS's servers. An
// error of lists (errLists) comes of files that are taken up.
func (s *server) reload(f *files) error {
	defer dnshalf.UseConfig(f.config)()
	inst := s.instance()
	if bytes.Equal(inst.Caddyfile().Body(), f.corefile) {
		if h := dnshalf.Running(s.o.Config); h != nil {
			return h.Reload()
		}
		return nil
	}
	if err := s.restart(inst, f); err != nil {
		return fmt.Errorf("the Corefile is not taken up, the old one stays: %w", f.text.Explain(err))
	}
	countRestart(f.corefile)
	return nil
}

// restart has a new instance take over the listeners of the old one.
func (s *server) restart(old *caddy.Instance, f *files) error {
	in := s.o.Input(f.corefile)
	if err := openable(in, old.Caddyfile()); err != nil {
		return err
	}
	next, err := old.Restart(in)
	if err == nil && next != nil {
		s.inst.Store(next)
		return nil
	}
	// It may have failed after the new one took over, in what ends the old one.
	if all := caddy.Instances(); len(all) > 0 && !slices.Contains(all, old) {
		s.inst.Store(all[len(all)-1])
	}
	if err == nil {
		err = errors.New("a plugin panicked, see above in the log")
	}
	return err
}

// openable finds new listeners that cannot be opened. A restart that fails at one would
// leave those open that it came to before.
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
		if err := ports.Try(l); err != nil && !(ours && ports.IsInUse(err)) {
			errs = append(errs, ports.Explain(err))
		}
	}
	return errors.Join(errs...)
}

// remove takes out the nft table.
func (s *server) remove(ctx context.Context) error {
	if h := dnshalf.Running(s.o.Config); h != nil {
		return h.Remove(ctx)
	}
	return nil
}

// stop ends the servers and leaves the nft table as it is.
func (s *server) stop() error {
	inst := s.instance()
	if inst == nil {
		return nil // it never started
	}
	errs := inst.ShutdownCallbacks()
	errs = append(errs, inst.Stop())
	inst.Wait()
	return errors.Join(errs...)
}
