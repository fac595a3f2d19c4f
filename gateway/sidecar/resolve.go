package sidecar

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/gateway/wg"
)

// resolving is when a tunnel's endpoint names are looked up next.
type resolving struct {
	backoff
	busy bool
	done bool // all were found, and nothing has happened since
}

func (r *resolving) reset() { r.backoff, r.done = backoff{}, false }

// resolved is the outcome of a lookup.
type resolved struct {
	t         *tunnel
	conf      *provider.Conf
	silent    bool // it was made because the far end does not answer
	endpoints map[wgtypes.Key]netip.AddrPort
	err       error
}

// silent: the far end does not answer, or never has. Another address may.
func (t *tunnel) silent(now time.Time) bool {
	if t.down {
		return true
	}
	never := !slices.ContainsFunc(t.status.Peers, func(p wg.PeerStatus) bool { return !p.LastHandshake.IsZero() })
	return never && now.Sub(t.opened) > t.c.opts.Timers.Resolve
}

// resolve looks endpoint names up in the background: when they are not known, when
// the WAN has changed, and again and again while the far end is silent.
func (t *tunnel) resolve(ctx context.Context, background *sync.WaitGroup, cfg *gateway.Config) {
	now := time.Now()
	silent := t.silent(now)
	if t.dev == nil || t.resolver.busy || now.Before(t.resolver.at) || t.resolver.done && !silent || !t.named() {
		return
	}
	t.resolver.busy = true
	c, conf, current := t.c, t.conf, t.status.Endpoints()
	background.Go(func() {
		mark := cfg.WANRoute().Mark
		r := resolved{t: t, conf: conf, silent: silent}
		found, err := resolvers.Find(cfg)
		if err != nil {
			r.err = err
		} else {
			r.endpoints, r.err = wg.Endpoints(ctx, conf, wg.Ask{
				Resolver: markdial.Client{Servers: found.Servers, Mark: mark}, Mark: mark, Current: current, Next: silent,
			})
		}
		c.mu.Lock()
		c.results = append(c.results, r)
		c.mu.Unlock()
		c.wake()
	})
}

// named: some endpoint is a name.
func (t *tunnel) named() bool {
	return slices.ContainsFunc(t.conf.Peers, func(p provider.Peer) bool {
		_, literal := p.Endpoint.Addr()
		return !p.Endpoint.IsZero() && !literal
	})
}

// take uses the outcome of a lookup and reports whether an endpoint is another now.
func (c *Controller) take(r resolved, now time.Time) bool {
	t, timers := r.t, c.opts.Timers
	t.resolver.busy = false
	if t.conf != r.conf || t.dev == nil {
		return false
	}
	c.problem(t.subject("endpoint"), r.err)
	first := timers.RetryMin
	if r.err == nil {
		first = timers.Resolve
	}
	t.resolver.failed(now, first, max(first, timers.RetryMax))
	t.resolver.done = r.err == nil
	old := t.endpoints
	t.endpoints = maps.Clone(old)
	maps.Copy(t.endpoints, r.endpoints)
	if maps.Equal(old, t.endpoints) && !r.silent {
		return false
	}
	if r.silent {
		t.dev.ResetEndpoints()
	}
	return true
}

// wanChanged: an endpoint may now be reached by another address, or not by this one.
func (t *tunnel) wanChanged() { t.resolver.reset() }
