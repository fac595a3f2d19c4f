package sidecar

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/probe"
	"github.com/nameroute/nameroute/gateway/wg"
)

// firstTry is how long a tunnel's first attempt to shake hands takes (REKEY_TIMEOUT). Before
// that a probe of its handshake says nothing.
const firstTry = 5 * time.Second

// unanswered is why a route waits whose probes have found nothing yet.
const unanswered = "its probes have found nothing yet"

// prober is *probe.Prober.
type prober interface {
	Set(ctx context.Context, routes []probe.Route)
	Targets(route string) []netip.Addr
	Stop()
}

// probed is a route with probes of its own: a group of one.
type probed struct {
	machine *group.Machine
	reason  string // why they failed when it went down
}

// observe takes the result of a round and reports whether the state has changed.
func (p *probed) observe(now time.Time, result group.Result) bool {
	before := p.status()
	p.machine.Observe(now, result)
	p.machine.Choose(now, func(string) string { return "" }) // that there is one route to choose from is no news
	after := p.status()
	if after.State == before.State {
		return after.State == group.Unknown && after.Reason != before.Reason
	}
	p.reason = after.Reason
	return true
}

func (p *probed) status() group.MemberStatus { return p.machine.Members()[0] }

// groupOfOne makes a group of a route that has probes.
func groupOfOne(route gateway.Route) *gateway.Group {
	return &gateway.Group{Members: []gateway.Member{{Route: route.Name}}, Policy: gateway.Failover, Probing: route.Probing}
}

// chooseProbed adds and removes routes with probes as the configuration says.
func (r *reconciler) chooseProbed(cfg *gateway.Config, have policy.State) {
	wanted := map[string]bool{}
	for _, route := range cfg.Routes {
		if len(route.Probing.Probes) == 0 {
			continue
		}
		wanted[route.Name] = true
		g := groupOfOne(route)
		if p, known := r.probed[route.Name]; known {
			p.machine.SetGroup(g)
			continue
		}
		p := &probed{machine: group.New(g)}
		r.probed[route.Name] = p
		for range route.Probing.Fails {
			if leftFailing(route, have) {
				p.observe(time.Now(), group.Result{Member: route.Name, Reason: "as before the start"})
			}
		}
	}
	for name := range r.probed {
		if !wanted[name] {
			delete(r.probed, name)
		}
	}
}

// leftFailing reports whether an earlier process has withdrawn a route's defaults because its
// probes failed: only what they ask is left.
func leftFailing(route gateway.Route, have policy.State) bool {
	found := false
	for _, k := range have.KernelRoutes {
		if k.Table == route.Table && len(k.Hops) > 0 {
			if !k.Dst.IsValid() {
				return false
			}
			found = true
		}
	}
	return found
}

// useResult takes the result of a round of probes and reports whether routes are to be
// applied.
func (r *reconciler) useResult(result group.Result, now time.Time) (changed bool) {
	p, ok := r.probed[result.Member]
	return ok && p.observe(now, result)
}

// failing returns the routes whose probes fail.
func (r *reconciler) failing() map[string]policy.Failing {
	out := map[string]policy.Failing{}
	for name, p := range r.probed {
		if p.status().State == group.Bad {
			out[name] = policy.Failing{Reason: "probe failed: " + p.reason, Targets: r.prober.Targets(name)}
		}
	}
	return out
}

// noteClosed notes the routes by which nothing can leave, and why. What the probes of one
// that fails ask can be reached.
func (r *reconciler) noteClosed(waiting map[string]string, failing map[string]policy.Failing) {
	r.closed = maps.Clone(waiting)
	for name, f := range failing {
		if r.closed[name] == f.Reason {
			delete(r.closed, name)
		}
	}
}

// startProbes sends probes through the routes of the configuration that was applied last. It
// is called at each step.
func (r *reconciler) startProbes(ctx context.Context) {
	if r.applied == nil {
		return
	}
	var routes []probe.Route
	for _, s := range r.status.Routes {
		route, ok := r.applied.Route(s.Name)
		if _, probed := r.probed[s.Name]; !ok || !probed {
			continue
		}
		routes = append(routes, r.probeRoute(route, route.Probing))
	}
	r.prober.Set(ctx, append(routes, r.memberProbes()...))
}

// probeRoute is what probes are sent through.
func (r *reconciler) probeRoute(route gateway.Route, probing gateway.Probing) probe.Route {
	p := probe.Route{Name: route.Name, Mark: route.Mark, Probing: probing, Closed: r.closed[route.Name]}
	if s, ok := r.status.Route(route.Name); ok && len(s.Links) == 1 {
		p.Link = s.Links[0]
	}
	if t := r.tunnels[route.Name]; t != nil && t.conf != nil {
		p.Resolvers, p.Handshake = t.conf.Resolvers(), t.shaken()
	}
	return p
}

// shaken says what a probe of the tunnel's handshakes finds.
func (t *tunnel) shaken() probe.Handshake {
	switch {
	case t.seen.State == wg.Up:
		return probe.Handshake{State: probe.HandshakeGood}
	case t.seen.State == wg.Idle:
		return probe.Handshake{Reason: "nothing was sent lately that needs an answer"}
	case t.seen.State == wg.Waiting && time.Since(t.opened) < firstTry:
		return probe.Handshake{Reason: noHandshake}
	case t.seen.Never:
		return probe.Handshake{State: probe.HandshakeBad, Reason: noHandshake}
	}
	return probe.Handshake{State: probe.HandshakeBad, Reason: t.seen.Reason}
}

// addProbes adds to the status of a route what its probes have found. What they have not
// found out yet is not known.
func (r *reconciler) addProbes(s *RouteStatus) {
	p, ok := r.probed[s.Name]
	if !ok {
		return
	}
	probes := p.status()
	s.Probes = &probes
	if s.State == wg.Up && probes.State == group.Unknown {
		s.State, s.Reason = wg.Waiting, unanswered
		if probes.Reason != "" {
			s.Reason += ": " + probes.Reason
		}
	}
}

// addAsMember says of a route that it is down where probes of a group through it fail, although
// packets are sent: it may still be asked for by itself. Of several groups one that it works for
// is enough.
func (r *reconciler) addAsMember(s *RouteStatus) {
	if s.State != wg.Up && s.State != wg.Idle {
		return
	}
	reason := ""
	for _, name := range slices.Sorted(maps.Keys(r.groups)) {
		for _, m := range r.groups[name].machine.Members() {
			switch {
			case m.Name != s.Name:
			case m.State == group.Good:
				return
			case m.State == group.Bad && reason == "":
				reason = "probes of " + name + " through it fail: " + m.Reason
			}
		}
	}
	if reason != "" {
		s.State, s.Reason = wg.Down, reason
	}
}
