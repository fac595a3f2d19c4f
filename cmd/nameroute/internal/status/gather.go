package status

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/members"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/gateway/sidecar"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// New returns what every process knows, whatever its parts.
func New(me Process, cfg *gateway.Config) Doc {
	d := Doc{
		At: time.Now(), Processes: []Process{me},
		Lists: []List{}, Sets: []Set{}, Upstreams: []Upstream{}, Blocks: []Block{},
	}
	for _, r := range cfg.AllRoutes() {
		by := byKernelRoute
		if r.Egress.Kind == gateway.EgressWireGuard {
			by = byHandshake
		}
		if len(r.Probing.Probes) > 0 || r.Group != nil && len(r.Group.Probes) > 0 || probedAsMember(cfg, r) {
			by = byProbe
		}
		d.Routes = append(d.Routes, Route{Name: r.Name, Egress: string(r.Egress.Kind), OnDown: string(r.OnDown), State: stateUnknown, By: by})
	}
	d.addClasses(cfg)
	d.addWAN(cfg)
	d.addLocal(cfg)
	return d
}

// probedAsMember reports whether a group sends probes through a route.
func probedAsMember(cfg *gateway.Config, r gateway.Route) bool {
	return slices.ContainsFunc(cfg.Routes, func(g gateway.Route) bool {
		return g.Group != nil && len(g.Group.Probes) > 0 && slices.ContainsFunc(g.Group.Members, func(m gateway.Member) bool { return m.Route == r.Name })
	})
}

// Problem adds an error that a part of the document could not be read for.
func (d *Doc) Problem(err error) {
	if err != nil {
		d.Problems = append(d.Problems, err.Error())
	}
}

func (d *Doc) route(name string) *Route {
	for i := range d.Routes {
		if d.Routes[i].Name == name {
			return &d.Routes[i]
		}
	}
	return &Route{} // it was just added or removed: what is stored here is dropped
}

func (d *Doc) addWAN(cfg *gateway.Config) {
	defaults, err := policy.WANDefaults(cfg)
	if err != nil {
		d.Problem(fmt.Errorf("read the WAN's default route: %w", err))
	}
	d.WAN.Defaults = []string{}
	for _, r := range defaults {
		d.WAN.Defaults = append(d.WAN.Defaults, r.String())
	}
	d.WAN.Note = members.OnlyByMetric(cfg, defaults)
	found, err := resolvers.Find(cfg)
	d.WAN.Resolvers, d.WAN.From = found.Servers, found.Source
	d.Problem(err)
	if d.WAN.Resolvers == nil {
		d.WAN.Resolvers = []netip.AddrPort{}
	}
}

// AddSidecar adds what the sidecar knows, which decides about routes.
func (d *Doc) AddSidecar(s sidecar.Status) {
	for _, r := range s.Routes {
		to := d.route(r.Name)
		to.State, to.Up = string(r.State), r.Up
		to.V4, to.V6, to.Since, to.Reason, to.Note, to.Links = r.V4, r.V6, r.Since, r.Reason, r.Note, r.Links
		if p := r.Probes; p != nil {
			to.Probes = &Probes{State: string(p.State), Reason: p.Reason, Last: p.Probed, RoundTrip: p.Time.Seconds()}
		}
		if r.Group != nil {
			to.Members = membersOf(r.Group)
		}
		if t := r.Tunnel; t != nil {
			to.RX, to.TX = &t.RX, &t.TX
			to.Tunnel = &Tunnel{Kind: string(t.Kind), Handshake: t.Handshake, Endpoints: t.Endpoints}
			for _, p := range t.Peers {
				to.Tunnel.Peers = append(to.Tunnel.Peers, Peer{Key: p.Key, State: string(p.State), Endpoint: p.Endpoint, Handshake: p.Handshake, AllowedIPs: p.AllowedIPs})
			}
			if !slices.Contains(d.Kernel.WireGuard, string(t.Kind)) {
				d.Kernel.WireGuard = append(d.Kernel.WireGuard, string(t.Kind))
			}
		}
	}
}

func membersOf(g *sidecar.GroupStatus) (members []Member) {
	for _, m := range g.Members {
		members = append(members, Member{
			Name: m.Name, InForce: m.InForce, Weight: m.Weight,
			Probes: Probes{State: string(m.State), Reason: m.Reason, Last: m.Probed, RoundTrip: m.Time.Seconds()},
		})
	}
	return members
}

// CountLinks takes the bytes of the routes without a tunnel from their interfaces.
func (d *Doc) CountLinks() {
	for i := range d.Routes {
		d.Routes[i].countLinks()
	}
}

func (r *Route) countLinks() {
	if r.Tunnel != nil || len(r.Links) == 0 {
		return
	}
	var rx, tx int64
	for _, name := range r.Links {
		link, err := netlink.LinkByName(name)
		if err != nil || link.Attrs().Statistics == nil {
			return // it is gone: the sidecar is about to report it
		}
		rx += int64(link.Attrs().Statistics.RxBytes)
		tx += int64(link.Attrs().Statistics.TxBytes)
	}
	r.RX, r.TX = &rx, &tx
}

// AddDNS adds what the dataplane and the plugins know.
func (d *Doc) AddDNS(s instance.Status) {
	for _, r := range s.Routes {
		to := d.route(r.Route.Name)
		to.V4, to.V6, to.Resolvers, to.From = r.Up && r.V4, r.Up && r.V6, r.Resolvers, r.From
		to.State = routeState(r.Up, r.Route.Egress.Kind)
		to.Up, to.Default = to.State == stateUp, r.Default
		if r.Route.Name != gateway.WAN && s.Table {
			to.Blocked = &Counter{r.Dropped.Packets, r.Dropped.Bytes}
			if r.Overwritten.Packets > 0 {
				to.Overwritten = &Counter{r.Overwritten.Packets, r.Overwritten.Bytes}
			}
			if r.Route.Egress.Kind == gateway.EgressWireGuard && !r.Route.AcceptInbound {
				to.Inbound = &Counter{r.Inbound.Packets, r.Inbound.Bytes}
			}
		}
	}
	for _, l := range s.Lists {
		one := List{Name: l.Name, Format: l.Format, Entries: l.Entries(), Prefixes: l.Prefixes, Skipped: l.Skipped, Read: l.LoadedAt, LastGood: l.LastGood}
		if l.Err != nil {
			one.Error = l.Err.Error()
		}
		d.Lists = append(d.Lists, one)
	}
	for _, x := range s.Sets {
		name := x.Set.Name
		if x.Set.Table != gateway.TableName {
			name = x.Set.String()
		}
		d.Sets = append(d.Sets, Set{name, x.Route, int(x.Family), x.Elements, x.Capacity, x.PerMinute})
	}
	for _, u := range s.Upstreams {
		state := "healthy"
		switch {
		case !u.Healthy:
			state = "unhealthy"
		case u.LastSeen.IsZero():
			state = stateUnknown
		}
		d.Upstreams = append(d.Upstreams, Upstream{u.Address, u.Route, state, u.Healthy, u.Fallback, u.Latency.Seconds(), u.Asked, u.Answered, u.LastSeen})
	}
	d.addNamesOfClasses(s)
	for _, b := range s.Blocks {
		d.Blocks = append(d.Blocks, blockOf(b))
	}
	if s.Redirect.On {
		d.Redirect = &Redirect{Queries: s.Counts.Redirected.Packets, Rejected: s.Counts.Refused.Packets, Problem: s.Problem}
	}
	if s.Table {
		d.Kernel.Table = string(s.Features.Mode)
		d.Kernel.Owner, d.Kernel.Persist, d.Kernel.Update = s.Features.Owner, s.Features.Persist, s.Features.Update
		d.Kernel.Holder, d.Kernel.Unheld = s.Holder, s.Unheld
		d.Kernel.Labels = s.Features.Labels
	}
}

// AddMarkWriters names the rules that overwrite marks, where that has blocked packets.
func (d *Doc) AddMarkWriters(find func(gateway.Mask) ([]string, error), mask gateway.Mask) {
	if !slices.ContainsFunc(d.Routes, func(r Route) bool { return r.Overwritten != nil }) {
		return
	}
	var err error
	d.MarkWriters, err = find(mask)
	d.Problem(err)
}

// What the state of a route is known by: its tunnel's handshakes, or the kernel routes by
// its link, which say nothing of what is behind it.
const (
	byHandshake   = "handshake"
	byKernelRoute = "kernel route"
	byProbe       = "probe"
)

// The states of a route that this package decides.
const (
	stateUp      = "up"
	stateDown    = "down"
	stateUnknown = "unknown"
)

// routeState returns a route's state by its routing table alone. That says nothing of a
// tunnel, of which the sidecar knows more.
func routeState(hasDefault bool, kind gateway.EgressKind) string {
	switch {
	case !hasDefault:
		return stateDown
	case kind == gateway.EgressWireGuard:
		return stateUnknown
	}
	return stateUp
}

func blockOf(b instance.BlockStatus) Block {
	out := Block{Zones: b.Zones, View: b.View, Clients: b.Class, Routes: b.Routes, Replay: b.Unplayed}
	if out.Routes == nil {
		out.Routes = []string{}
	}
	if b.Counted {
		out.Queries = &b.Queries
	}
	if b.Cached {
		out.Hits = &b.Hits
	}
	return out
}

// Merge makes one document of those of several processes. The sidecar decides about the
// routes; a process leaves out what it does not know.
func Merge(docs []Doc) Doc {
	out := docs[0]
	for _, d := range docs[1:] {
		out.Processes = append(out.Processes, d.Processes...)
		for _, p := range d.Problems {
			if !slices.Contains(out.Problems, p) {
				out.Problems = append(out.Problems, p)
			}
		}
		for _, r := range d.Routes {
			if i := slices.IndexFunc(out.Routes, func(o Route) bool { return o.Name == r.Name }); i >= 0 {
				out.Routes[i] = mergeRoute(out.Routes[i], r)
				continue
			}
			out.Routes = append(out.Routes, r)
		}
		out.Classes = mergeClasses(out.Classes, d.Classes)
		out.Lists = append(out.Lists, d.Lists...)
		out.Sets = append(out.Sets, d.Sets...)
		out.Upstreams = append(out.Upstreams, d.Upstreams...)
		out.Blocks = append(out.Blocks, d.Blocks...)
		out.Kernel = mergeKernel(out.Kernel, d.Kernel)
		out.MarkWriters = append(out.MarkWriters, d.MarkWriters...)
		if out.Redirect == nil {
			out.Redirect = d.Redirect
		}
		if out.Checks == nil {
			out.Checks = d.Checks
		}
	}
	out.State, out.Because = out.overall()
	return out
}

// mergeRoute merges two views of one route. Only the sidecar's has a time.
func mergeRoute(a, b Route) Route {
	if a.Since.IsZero() {
		a, b = b, a
	}
	if a.Blocked == nil {
		a.Blocked = b.Blocked
	}
	if a.Overwritten == nil {
		a.Overwritten = b.Overwritten
	}
	if a.Inbound == nil {
		a.Inbound = b.Inbound
	}
	if a.Resolvers == nil {
		a.Resolvers, a.From = b.Resolvers, b.From
	}
	return a
}

func mergeKernel(a, b Kernel) Kernel {
	if a.Table == "" {
		a.Table, a.Owner, a.Persist, a.Update, a.Labels = b.Table, b.Owner, b.Persist, b.Update, b.Labels
		a.Holder, a.Unheld = b.Holder, b.Unheld
	}
	for _, w := range b.WireGuard {
		if !slices.Contains(a.WireGuard, w) {
			a.WireGuard = append(a.WireGuard, w)
		}
	}
	return a
}
