package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/nameroute/nameroute/plugin/dnshalf"
)

// server runs CoreDNS with the dns half.
type server struct {
	o  *options
	mu sync.Mutex // one restart at a time: two at once leak references

	instMu sync.Mutex
	inst   *caddy.Instance // the one that serves now
}

// newServer prepares the process for CoreDNS, once.
func newServer(o *options) *server {
	s := &server{o: o}
	dnsserver.Quiet = true // what it would print is in our own line
	// Without a loader of ours the first tick of the reload plugin would replace the
	// server by CoreDNS's default one.
	caddy.RegisterCaddyfileLoader("nameroute", caddy.LoaderFunc(func(string) (caddy.Input, error) {
		text, err := os.ReadFile(o.corefile)
		if err != nil {
			return nil, err
		}
		if _, err := parseBlocks(o.corefile, string(text)); err != nil {
			return nil, err
		}
		return o.input(text), nil
	}))
	// The reload plugin restarts by itself; the event tells which instance serves.
	caddy.RegisterEventHook("nameroute", func(event caddy.EventName, info any) error {
		if inst, ok := info.(*caddy.Instance); ok && event == caddy.InstanceStartupEvent {
			s.instMu.Lock()
			s.inst = inst
			s.instMu.Unlock()
		}
		return nil
	})
	return s
}

// start starts CoreDNS. When it returns, the nft table stands and the listeners are
// open.
func (s *server) start(f *files) error {
	defer dnshalf.UseConfig(f.config)()
	_, err := caddy.Start(s.o.input(f.corefile))
	if err == nil {
		return nil
	}
	if errors.Is(err, dnshalf.ErrList) {
		return withCode(exitList, err)
	}
	return explainListen(err)
}

// instance is the instance that serves now.
func (s *server) instance() *caddy.Instance {
	s.instMu.Lock()
	defer s.instMu.Unlock()
	return s.inst
}

// reload takes up changed files. Only a changed Corefile restarts CoreDNS's servers.
func (s *server) reload(f *files) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer dnshalf.UseConfig(f.config)()
	if inst := s.instance(); !bytes.Equal(inst.Caddyfile().Body(), f.corefile) {
		if _, err := inst.Restart(s.o.input(f.corefile)); err != nil {
			return fmt.Errorf("the Corefile is not taken up, the old one stays: %w", err)
		}
		return nil
	}
	if h := dnshalf.Running(s.o.config); h != nil {
		return h.Reload()
	}
	return nil
}

// remove takes out the nft table.
func (s *server) remove(ctx context.Context) error {
	if h := dnshalf.Running(s.o.config); h != nil {
		return h.Remove(ctx)
	}
	return nil
}

// stop ends the servers and leaves the nft table as it is.
func (s *server) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	inst := s.instance()
	if inst == nil {
		return nil // it never started
	}
	errs := inst.ShutdownCallbacks()
	errs = append(errs, inst.Stop())
	inst.Wait()
	return errors.Join(errs...)
}
