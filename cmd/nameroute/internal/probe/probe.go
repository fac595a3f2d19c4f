// Package probe finds out what files and counters do not tell: whether tunnels shake hands,
// resolvers answer through their routes, endpoints resolve, which way packets take, and
// what clients get. It changes nothing, and its time is bounded.
package probe

import (
	"context"
	"fmt"
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
			tasks = append(tasks, func() []status.Finding { return beyond(ctx, o.Config, route, "route "+route.Name) })
		}
	}
	for _, u := range o.Uses {
		tasks = append(tasks, func() []status.Finding { return u.probe(ctx, o.Config) })
	}
	for _, route := range o.Config.AllRoutes() {
		for _, member := range o.Config.Members(route) {
			tasks = append(tasks, func() []status.Finding { return ofMember(ctx, o, route, member) })
		}
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

// ofMember looks through one member of a group: for the resolvers that are queried via the
// group, or, where none is known, for the internet.
func ofMember(ctx context.Context, o Options, route, member gateway.Route) (found []status.Finding) {
	asked := false
	for _, u := range o.Uses {
		if u.Route == route.Name && !u.Own {
			found, asked = append(found, u.through(ctx, o.Config, member)...), true
		}
		asked = asked || u.Route == member.Name
	}
	known := member.Egress.Kind != gateway.EgressWireGuard && route.Name != gateway.WAN // looked at as a route
	if asked || known {
		return found
	}
	return beyond(ctx, o.Config, member, fmt.Sprintf("route %s: member %s", route.Name, member.Name))
}

func one(level status.Level, format string, args ...any) []status.Finding {
	return []status.Finding{status.Found(level, format, args...)}
}
