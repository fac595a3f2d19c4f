package sidecar

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/gateway/members"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/programs"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/wg"
)

// reconciler brings the kernel to the desired state. The Controller holds c.work while it
// calls it.
type reconciler struct {
	system
	opts      Options
	log       *slog.Logger
	providers *provider.Store
	trigger   func()       // requests an apply
	deliver   func(lookup) // hands a finished lookup to the next step

	tunnels   map[string]*tunnel // by route
	prober    prober
	probed    map[string]*probed // by route
	groups    map[string]*grouped
	closed    map[string]string // why nothing can leave by a route
	applied   *gateway.Config   // the last one that was
	problems  logonce.Edge
	lastApply time.Time
	failed    bool // something in the last apply
	retry     backoff
	flaps     flapDetector
	diverted  diversions
	wan       string // the WAN's defaults as applied
	uplinks   []gateway.Mark
	status    Status
}

func newReconciler(o Options, s system, c *Controller) *reconciler {
	r := &reconciler{
		system: s, opts: o, log: o.Log, providers: provider.NewStore(o.State), trigger: c.trigger,
		deliver: func(l lookup) { c.post(func(t *todo) { t.lookups = append(t.lookups, l) }) },
		tunnels: map[string]*tunnel{}, probed: map[string]*probed{}, groups: map[string]*grouped{},
	}
	r.prober = s.prober(func(found group.Result) { c.post(func(t *todo) { t.found = append(t.found, found) }) })
	return r
}

// step reads the tunnels and, where that or an event asks for it, applies everything. It
// reports whether the apply is postponed to the next probe, because its changes do not
// last.
func (r *reconciler) step(cfg *gateway.Config, table bool, todo todo) (postponed bool) {
	now, changed := time.Now(), todo.changed
	for _, l := range todo.lookups {
		changed = r.useLookup(l, now) || changed
	}
	for _, found := range todo.found {
		r.useMemberResult(found, now)
		changed = r.useResult(found, now) || changed
	}
	changed = r.chooseAgain(now) || changed
	for _, t := range r.tunnels {
		changed = t.observe(now) || changed
		if todo.resolvers {
			t.resolver.reset() // the old ones may have been unreachable
		}
	}
	if todo.resolvers && r.applied != nil {
		r.findResolvers(r.applied)
	}
	since := now.Sub(r.lastApply)
	changed = changed || r.failed && !now.Before(r.retry.at)
	if changed && r.flaps.flapping(now) && since < r.opts.Timers.RetryMin {
		r.report("changes do not last", errors.New(r.flaps.text))
		return true
	}
	if changed || since >= r.opts.Timers.Slow {
		r.lastApply, r.failed, r.diverted.due = now, false, true
		r.apply(cfg, table)
		if r.failed {
			r.retry.failed(now, r.opts.Timers.RetryMin, r.opts.Timers.RetryMax)
		} else {
			r.retry = backoff{}
		}
	}
	r.cutFlows(now)
	r.lookForDiversions(cfg, now)
	return false
}

// apply brings everything to the desired state. The kernel is read once, and again where
// the first half has changed anything.
func (r *reconciler) apply(cfg *gateway.Config, table bool) {
	now, err := r.kernel.Read(cfg)
	if err != nil {
		r.fail("kernel", err)
		return
	}
	r.chooseTunnels(cfg)
	r.chooseProbed(cfg, now.State)
	r.chooseGroups(cfg, now.State)
	r.findResolvers(cfg)
	found := programs.Find(cfg.Clients)
	early, err := r.blockRoutes(cfg, now, found)
	r.fail("kill switch", err)
	if err != nil {
		return // nothing that lets packets out is set up without it
	}
	touched := r.removeTunnels(cfg)
	for _, t := range r.tunnels {
		touched = t.apply(cfg, table) || touched
	}
	if touched || len(early) > 0 {
		now, err = r.kernel.Read(cfg)
	}
	r.fail("kernel", err)
	if err != nil {
		return
	}
	r.report("policy rules", missingMainRule(now.State))
	r.reportLocal(now.Inputs.Local)
	in := r.withTunnels(now.Inputs)
	want := r.desired(cfg, in, found, true)
	late, err := r.routing.Apply(now.State, want)
	r.logChanges(late)
	r.fail("policy routing", err)
	r.flaps.record(r.lastApply, append(early, late...))
	r.fail("conntrack", r.deleteFlowsOfRemoved(now.State, want, in.Uplinks(cfg)))
	r.noticeOtherWAN(cfg, want)
	if table {
		r.enableForwarding(cfg, want)
	}
	r.noteClosed(want.Waiting, in.Failing)
	r.updateStatus(cfg, want)
	r.applied = cfg
}

// missingMainRule is an error where the kernel's own rule for table main has been flushed,
// too. It is not ours to put back: some boxes have others in its place, or none on purpose.
func missingMainRule(have policy.State) error {
	var errs []error
	for _, f := range have.NoMain {
		errs = append(errs, fmt.Errorf("no IPv%d rule looks up table main, so packets outside our routes are not routed: ip -%d rule add lookup main pref 32766", f, f))
	}
	return errors.Join(errs...)
}

// chooseTunnels adds and removes tunnels as the configuration says. Those of removed
// routes are closed here; removeTunnels deletes their interfaces when packets are blocked.
func (r *reconciler) chooseTunnels(cfg *gateway.Config) {
	wanted := map[string]bool{}
	for _, route := range cfg.Routes {
		if route.Egress.Kind != gateway.EgressWireGuard {
			continue
		}
		wanted[route.Name] = true
		t := r.tunnels[route.Name]
		if t != nil && (t.route.Egress.Link != route.Egress.Link || t.route.MTU != route.MTU) {
			t.close() // to be opened with the new ones; removeTunnels deletes the old link
			t = nil
		}
		if t == nil {
			t = newTunnel(r, route)
			r.tunnels[route.Name] = t
		}
		t.setRoute(route)
	}
	for name, t := range r.tunnels {
		if !wanted[name] {
			t.close()
			delete(r.tunnels, name)
		}
	}
}

// blockRoutes adds policy rules and unreachable defaults, and removes nothing: defaults
// that exist, also those of an earlier process, lead into interfaces that are about to be
// adopted or repaired. It fails where packets of a route would not be blocked.
func (r *reconciler) blockRoutes(cfg *gateway.Config, now policy.Snapshot, found map[string]gateway.Programs) (changes []string, err error) {
	want := r.desired(cfg, r.withTunnels(now.Inputs), found, false)
	changes, err = r.routing.Apply(now.State, want.With(now.State))
	r.logChanges(changes)
	if err == nil {
		return changes, nil
	}
	// Any other failure is retried below, and reported there.
	after, err2 := r.kernel.Read(cfg)
	if err2 != nil || !after.State.Blocks(want) {
		return changes, errors.Join(err, err2)
	}
	return changes, nil
}

// withTunnels adds what the tunnels know.
func (r *reconciler) withTunnels(in policy.Inputs) policy.Inputs {
	in.Failing = r.failing()
	in.Silent = map[string][]netip.Prefix{}
	in.Closed, in.Families, in.Networks = map[string]string{}, map[string][]gateway.Family{}, map[string][]netip.Prefix{}
	for name, t := range r.tunnels {
		if reason := t.closedReason(); reason != "" {
			in.Closed[name] = reason
		}
		in.Families[name] = t.families()
		in.Silent[name] = t.silentPrefixes()
		if t.conf != nil {
			in.Networks[name] = t.conf.Addresses
		}
	}
	return in
}

// removeTunnels deletes interfaces of ours that no route has any more, also those of an
// earlier process, and the copies of their files. It reports whether it deleted one.
func (r *reconciler) removeTunnels(cfg *gateway.Config) (changed bool) {
	changed, err := r.removeLinks(func(link string) bool {
		return slices.ContainsFunc(cfg.Routes, func(route gateway.Route) bool {
			return route.Egress.Kind == gateway.EgressWireGuard && route.Egress.Link == link
		})
	})
	r.report("remove tunnels", err)
	r.report("remove provider files", r.providers.Prune(cfg.Routes))
	return changed
}

func (r *reconciler) removeLinks(keep func(link string) bool) (changed bool, err error) {
	links, err := r.devices.Links()
	if err != nil {
		return false, err
	}
	var errs []error
	for _, link := range links {
		if keep(link.Name) {
			continue
		}
		changed = true
		if err := r.devices.Remove(link.Name); err != nil {
			errs = append(errs, err)
			continue
		}
		r.logChanges([]string{"del interface " + link.Name})
	}
	return changed, errors.Join(errs...)
}

// noticeOtherWAN has endpoint names looked up again when the WAN is another one: their
// addresses may differ there, or not be reachable.
func (r *reconciler) noticeOtherWAN(cfg *gateway.Config, want policy.State) {
	wan := policy.State{}
	for _, k := range want.KernelRoutes {
		if standby := cfg.WANGroup != nil && k.Metric >= members.Standby; k.Table == cfg.WANRoute().Table && len(k.Hops) > 0 && !standby {
			wan.KernelRoutes = append(wan.KernelRoutes, k)
		}
	}
	if text := wan.String(); text != r.wan {
		r.wan = text
		for _, t := range r.tunnels {
			t.resolver.reset()
		}
	}
}

// enableForwarding enables forwarding where there is a LAN, and a way out of the box: an
// interface that is to become the WAN by a router advertisement would accept none any
// more, and until it has one nothing tells which interface that is.
func (r *reconciler) enableForwarding(cfg *gateway.Config, want policy.State) {
	egress := slices.ContainsFunc(cfg.AllRoutes(), func(route gateway.Route) bool {
		_, waits := want.Waiting[route.Name]
		return route.Egress.Kind != gateway.EgressWireGuard && !waits
	})
	if !egress || !slices.ContainsFunc(cfg.LAN, func(link string) bool { return link != "lo" }) {
		return
	}
	links := slices.Clone(cfg.LAN)
	for _, s := range want.Sysctls {
		links = append(links, s.Link)
	}
	changes, err := r.routing.Forward(links...)
	r.logChanges(changes)
	r.fail("forwarding", err)
}

// removeAll removes everything that is ours.
func (r *reconciler) removeAll(cfg *gateway.Config) error {
	have, err := r.kernel.Read(cfg)
	errs := []error{err}
	changes, err := r.routing.Remove()
	r.logChanges(changes)
	errs = append(errs, err, r.deleteFlowsOfRemoved(have.State, policy.State{}, nil))
	r.closeTunnels()
	_, err = r.removeLinks(func(string) bool { return false })
	return errors.Join(append(errs, err, r.providers.Prune(nil))...)
}

// closeTunnels ends this process's part in the tunnels and leaves them in place.
func (r *reconciler) closeTunnels() {
	for _, t := range r.tunnels {
		t.close()
	}
}

// deviceOptions are those of a route's tunnel.
func (r *reconciler) deviceOptions(route gateway.Route) wg.Options {
	return wg.Options{
		Alias: wg.Alias(route.Name), MTU: route.MTU, Userspace: r.opts.Userspace,
		Patience: r.limits(route).Limit / 12, Log: r.log,
	}
}
