// Package coredns runs CoreDNS with a front of our own before its servers for TCP and TLS, which
// answer the queries of a connection one after the other. No plugin can change that, and neither
// caddy.Start nor Instance.Restart gives access to the servers, so this package makes the calls
// that they make; everything else is CoreDNS's.
package coredns

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/uniq"
	_ "github.com/coredns/coredns/plugin/ready"
)

// Instance is CoreDNS with one Corefile.
type Instance struct {
	caddy   *caddy.Instance
	servers []*server
	running *sync.WaitGroup // of all servers from the first instance on
	limits  limits
}

// stopLimit is how long a stop waits for the answers that are due. CoreDNS's own servers
// wait 5 s.
const stopLimit = 6 * time.Second

// Start starts CoreDNS.
func Start(in caddy.Input) (*Instance, error) {
	i := &Instance{running: &sync.WaitGroup{}, limits: newLimits()}
	if err := i.open(in, nil); err != nil {
		return nil, err
	}
	return i, nil
}

// Restart starts CoreDNS with another Corefile, and ends i when the new instance answers. On an
// error i keeps running.
func (i *Instance) Restart(in caddy.Input) (*Instance, error) {
	slog.Info("Reloading", "part", "resolver")
	next := &Instance{running: i.running, limits: i.limits}
	endAll(i.caddy.OnRestart)
	if err := next.open(in, i); err != nil {
		return nil, errors.Join(err, call(i.caddy.OnRestartFailed))
	}
	i.stopServers()
	endAll(i.caddy.OnShutdown)
	caddy.EmitEvent(caddy.InstanceStartupEvent, next.caddy)
	slog.Info("Reloading complete", "part", "resolver")
	return next, nil
}

// Stop ends CoreDNS once its pending queries are answered.
func (i *Instance) Stop() {
	endAll(i.caddy.OnShutdown)
	endAll(i.caddy.OnFinalShutdown)
	i.stopServers()
	i.running.Wait()
}

// Caddyfile returns the Corefile.
func (i *Instance) Caddyfile() caddy.Input { return i.caddy.Caddyfile() }

// open makes the servers of a Corefile and starts them. From an old instance they take
// over the listeners. On an error nothing of it is left.
func (i *Instance) open(in caddy.Input, old *Instance) (err error) {
	if i.caddy, err = empty(in); err != nil {
		return err
	}
	begun := 0
	defer func() {
		if err != nil {
			abandon(i.caddy, begun)
		}
	}()
	var made []caddy.Server
	if err := guard(func() error {
		context, err := setUp(in, i.caddy)
		if err == nil {
			made, err = context.MakeServers()
		}
		return err
	}); err != nil {
		return err
	}
	if old == nil {
		if err := call(i.caddy.OnFirstStartup); err != nil {
			return err
		}
	}
	for _, f := range i.caddy.OnStartup {
		begun++
		if err := guard(f); err != nil {
			return err
		}
	}
	if i.servers, err = listen(made, old, i.limits); err != nil {
		return err
	}
	for _, s := range i.servers {
		s.serve(i.running)
	}
	if old == nil {
		caddy.EmitEvent(caddy.InstanceStartupEvent, i.caddy)
	}
	return nil
}

// building is where caddy leaves the context of the Corefile that is set up.
var building = struct {
	sync.Mutex
	once    sync.Once
	context caddy.Context
}{}

// readyAddresses is where *ready* notes the addresses that it listens on: in its setup, for
// good, and again when it starts. Setups, which need not be followed by a start, get another.
//
//go:linkname readyAddresses github.com/coredns/coredns/plugin/ready.uniqAddr
var readyAddresses *uniq.U

// empty returns an instance without anything in it. Only caddy can make one that knows its
// server type: it returns one with the error about an input that cannot be read.
func empty(in caddy.Input) (*caddy.Instance, error) {
	i, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte("{"), ServerTypeName: in.ServerType()})
	if err == nil {
		return nil, errors.New("this version of caddy reads an unclosed block")
	}
	return i, nil
}

// setUp sets up the directives of a Corefile in an empty instance, whose context it returns.
func setUp(in caddy.Input, i *caddy.Instance) (caddy.Context, error) {
	building.Lock()
	defer building.Unlock()
	defer func() { building.context = nil }()
	defer func(r *uniq.U) { readyAddresses = r }(readyAddresses)
	readyAddresses = uniq.New()
	building.once.Do(func() {
		last := dnsserver.Directives[len(dnsserver.Directives)-1]
		caddy.RegisterParsingCallback(in.ServerType(), last, func(c caddy.Context) error {
			building.context = c
			return nil
		})
	})
	if err := caddy.ValidateAndExecuteDirectives(in, i, false); err != nil {
		return nil, err
	}
	return building.context, nil
}

// stopServers ends all servers side by side.
func (i *Instance) stopServers() {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	var done sync.WaitGroup
	for _, s := range i.servers {
		done.Go(func() { s.stop(ctx) })
	}
	done.Wait()
}
