// Package coredns runs CoreDNS's servers with a front of our own before those of TCP and
// TLS, which CoreDNS has answer one query of a connection after the other. A plugin cannot
// change that, and neither caddy.Start nor Instance.Restart lets go of the servers, so this
// package does what they do with the same calls: everything else is CoreDNS's.
package coredns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
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

// Restart starts CoreDNS with another Corefile, and ends i when the new instance answers.
// On an error i goes on.
func (i *Instance) Restart(in caddy.Input) (*Instance, error) {
	slog.Info("Reloading", "part", "resolver")
	next := &Instance{running: i.running, limits: i.limits}
	err := call(i.caddy.OnRestart)
	if err == nil {
		err = next.open(in, i)
	}
	if err != nil {
		return nil, errors.Join(err, call(i.caddy.OnRestartFailed))
	}
	i.stopServers()
	if err := call(i.caddy.OnShutdown); err != nil {
		slog.Error("ending the old configuration failed", "part", "resolver", "error", err)
	}
	caddy.EmitEvent(caddy.InstanceStartupEvent, next.caddy)
	slog.Info("Reloading complete", "part", "resolver")
	return next, nil
}

// Stop ends CoreDNS when the queries that it has are answered.
func (i *Instance) Stop() error {
	var errs []error
	for _, end := range append(i.caddy.OnShutdown, i.caddy.OnFinalShutdown...) {
		errs = append(errs, end())
	}
	i.stopServers()
	i.running.Wait()
	return errors.Join(errs...)
}

// Caddyfile returns the Corefile.
func (i *Instance) Caddyfile() caddy.Input { return i.caddy.Caddyfile() }

// open makes the servers of a Corefile and starts them. From an old instance they take
// over the listeners.
func (i *Instance) open(in caddy.Input, old *Instance) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a plugin panicked: %v", r)
		}
	}()
	var made []caddy.Server
	if i.caddy, made, err = build(in); err != nil {
		return err
	}
	if old == nil {
		if err := call(i.caddy.OnFirstStartup); err != nil {
			return err
		}
	}
	if err := call(i.caddy.OnStartup); err != nil {
		return err
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

// build sets up the directives of a Corefile and makes its servers.
func build(in caddy.Input) (*caddy.Instance, []caddy.Server, error) {
	building.Lock()
	defer building.Unlock()
	building.once.Do(func() {
		last := dnsserver.Directives[len(dnsserver.Directives)-1]
		caddy.RegisterParsingCallback(in.ServerType(), last, func(c caddy.Context) error {
			building.context = c
			return nil
		})
	})
	// Only caddy can make an instance that knows its server type. It returns one with the
	// error about an input that cannot be read.
	i, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte("{"), ServerTypeName: in.ServerType()})
	if err == nil {
		return nil, nil, errors.New("this version of caddy reads an unclosed block")
	}
	if err := caddy.ValidateAndExecuteDirectives(in, i, false); err != nil {
		return nil, nil, err
	}
	servers, err := building.context.MakeServers()
	return i, servers, err
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

// call calls functions until one fails.
func call(all []func() error) error {
	for _, f := range all {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}
