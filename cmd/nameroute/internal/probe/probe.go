// Package probe finds out what files and counters do not tell: whether tunnels shake hands,
// resolvers answer through their routes, endpoints resolve, which way packets take, and
// what clients get. It changes nothing, and its time is bounded.
package probe

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
)

// Options are what to probe.
type Options struct {
	Config    *gateway.Config
	Uses      []Use               // the resolvers of the Corefile's blocks
	Listeners []firewall.Listener // of the Corefile
	Running   bool                // a nameroute runs
}

// limit bounds all probes together. Each has two attempts of attemptLimit, or the time of a
// handshake.
const (
	limit        = 20 * time.Second
	attemptLimit = 2 * time.Second
)

// Run sends all probes at the same time, and returns what they find in a stable order.
func Run(ctx context.Context, o Options) []status.Finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var tasks []func() []status.Finding
	tasks = append(tasks, func() []status.Finding { return Egresses(o.Config) })
	for _, route := range o.Config.Routes {
		if route.Egress.Kind == gateway.EgressWireGuard {
			tasks = append(tasks,
				func() []status.Finding { return endpoints(ctx, o.Config, route) },
				func() []status.Finding { return handshake(ctx, o.Config, route) })
		}
	}
	for _, route := range o.Config.Routes {
		asked := slices.ContainsFunc(o.Uses, func(u Use) bool { return u.Route == route.Name })
		if route.Egress.Kind != gateway.EgressWireGuard && !asked {
			tasks = append(tasks, func() []status.Finding { return beyond(ctx, o.Config, route) })
		}
	}
	for _, u := range o.Uses {
		tasks = append(tasks, func() []status.Finding { return u.probe(ctx, o.Config) })
	}
	tasks = append(tasks, func() []status.Finding { return clients(ctx, o) })
	found := make([][]status.Finding, len(tasks))
	var all sync.WaitGroup
	for i, task := range tasks {
		all.Go(func() { found[i] = task() })
	}
	all.Wait()
	return slices.Concat(found...)
}

func one(level status.Level, format string, args ...any) []status.Finding {
	return []status.Finding{status.Found(level, format, args...)}
}
