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

// resolver schedules the lookups of a tunnel's endpoint names.
type resolver struct {
	backoff
	busy bool
	done bool // all were found, and nothing has happened since
}

func (r *resolver) reset() { r.backoff, r.done = backoff{}, false }

// lookup is the result of one.
type lookup struct {
	tunnel    *tunnel
	conf      *provider.Conf
	silent    bool // it was made because no peer answers
	endpoints map[wgtypes.Key]netip.AddrPort
	refused   error
	err       error
}

// silent reports whether no peer answers, or ever has. Another address may.
func (t *tunnel) silent(now time.Time) bool {
	if t.seen.State == wg.Down {
		return true
	}
	never := !slices.ContainsFunc(t.status.Peers, func(p wg.PeerStatus) bool { return !p.LastHandshake.IsZero() })
	return never && now.Sub(t.opened) > t.r.opts.Timers.Resolve
}

// hasNames reports whether some endpoint is a name.
func (t *tunnel) hasNames() bool { return hasNames(t.conf) }

func hasNames(conf *provider.Conf) bool {
	return slices.ContainsFunc(conf.Peers, func(p provider.Peer) bool {
		_, literal := p.Endpoint.Addr()
		return hasEndpoint(p) && !literal
	})
}

func hasEndpoint(p provider.Peer) bool { return !p.Endpoint.IsZero() }

// startLookups looks endpoint names up in the background: when they are not known, when
// the WAN has changed, and repeatedly while no peer answers.
func (r *reconciler) startLookups(ctx context.Context, background *sync.WaitGroup, cfg *gateway.Config) {
	now := time.Now()
	for _, t := range r.tunnels {
		silent := t.silent(now)
		if t.dev == nil || t.resolver.busy || now.Before(t.resolver.at) || t.resolver.done && !silent || !silent && !t.hasNames() {
			continue
		}
		t.resolver.busy = true
		l, current := lookup{tunnel: t, conf: t.conf, silent: silent}, t.status.Endpoints()
		background.Go(func() {
			if silent {
				l.refused = refusal(ctx, current, cfg.WANRoute().Mark)
			}
			l.endpoints, l.err = lookUp(ctx, cfg, l.conf, current, silent)
			r.deliver(l)
		})
	}
}

// refusal returns the refusal of a packet to one of the endpoints, if there is any: their
// host's, or a router's. WireGuard does not notice it.
func refusal(ctx context.Context, endpoints map[wgtypes.Key]netip.AddrPort, mark gateway.Mark) error {
	for _, e := range endpoints {
		if err := wg.Refused(ctx, e, mark); err != nil {
			return err
		}
	}
	return nil
}

func lookUp(ctx context.Context, cfg *gateway.Config, conf *provider.Conf, current map[wgtypes.Key]netip.AddrPort, next bool) (map[wgtypes.Key]netip.AddrPort, error) {
	var found resolvers.Found
	if hasNames(conf) {
		var err error
		if found, err = resolvers.Find(cfg); err != nil {
			return nil, err
		}
	}
	mark := cfg.WANRoute().Mark
	return wg.Endpoints(ctx, conf, wg.Ask{
		Resolver: markdial.Client{Servers: found.Servers, Mark: mark}, Mark: mark, Current: current, Next: next,
	})
}

// useLookup takes the endpoints from a lookup and reports whether the tunnel is to be
// applied.
func (r *reconciler) useLookup(l lookup, now time.Time) (changed bool) {
	t, timers := l.tunnel, r.opts.Timers
	t.resolver.busy = false
	if t.conf != l.conf || t.dev == nil {
		return false
	}
	t.report("cannot resolve the endpoint", l.err)
	t.lookupErr, t.refused = l.err, l.refused
	first := timers.RetryMin
	if l.err == nil {
		first = timers.Resolve
	}
	t.resolver.failed(now, first, max(first, timers.RetryMax))
	t.resolver.done = l.err == nil
	if !t.hasNames() {
		return false
	}
	old := t.endpoints
	t.endpoints = maps.Clone(old)
	maps.Copy(t.endpoints, l.endpoints)
	if maps.Equal(old, t.endpoints) && !l.silent {
		return false
	}
	if l.silent {
		t.dev.ResetEndpoints()
	}
	return true
}
