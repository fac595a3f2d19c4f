package sidecar

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/gateway/members"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/wg"
)

// Status describes every route, in the order of the file, wan last.
type Status struct {
	Routes []RouteStatus `json:"routes"`
}

// Route returns the status of a route by its name.
func (s Status) Route(name string) (RouteStatus, bool) {
	i := slices.IndexFunc(s.Routes, func(r RouteStatus) bool { return r.Name == name })
	if i < 0 {
		return RouteStatus{}, false
	}
	return s.Routes[i], true
}

// RouteStatus is one route.
type RouteStatus struct {
	Name   string              `json:"name"`
	Egress gateway.EgressKind  `json:"egress"`
	Links  []string            `json:"links,omitempty"` // interfaces that its defaults leave by
	State  wg.State            `json:"state"`           // what is known of it
	Up     bool                `json:"up"`              // its table has a default, and its tunnel has shaken hands
	V4     bool                `json:"v4"`              // it has a default of IPv4
	V6     bool                `json:"v6"`
	Reason string              `json:"why,omitempty"`  // why it is not up
	Since  time.Time           `json:"since"`          // when it came into this state
	Note   string              `json:"note,omitempty"` // what is wrong although it is up
	Tunnel *TunnelStatus       `json:"tunnel,omitempty"`
	Probes *group.MemberStatus `json:"probes,omitempty"` // what those of its own have found
	Group  *GroupStatus        `json:"group,omitempty"`

	own wg.State // without what the probes of groups say of a member, which they log themselves
}

// TunnelStatus is a WireGuard tunnel that is open.
type TunnelStatus struct {
	Kind      wg.Kind          `json:"kind"`
	Handshake time.Time        `json:"handshake"` // the latest; zero: never
	RX        int64            `json:"rx"`        // bytes
	TX        int64            `json:"tx"`
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`
	Peers     []PeerStatus     `json:"peers,omitempty"` // where there are several
}

// updateStatus derives from the applied state which routes are up, and logs changes.
func (r *reconciler) updateStatus(cfg *gateway.Config, want policy.State) {
	var routes []RouteStatus
	for _, route := range cfg.AllRoutes() {
		s := RouteStatus{Name: route.Name, Egress: route.Egress.Kind, State: wg.Down, Reason: want.Waiting[route.Name], Since: time.Now()}
		for _, k := range want.KernelRoutes {
			if k.Table != route.Table || len(k.Hops) == 0 || route.Group != nil && k.Metric >= members.Standby {
				continue
			}
			if !k.Dst.IsValid() {
				s.State = wg.Up
				s.V4 = s.V4 || k.Family == gateway.V4
				s.V6 = s.V6 || k.Family == gateway.V6
			}
			for _, link := range k.Links() {
				if !slices.Contains(s.Links, link) {
					s.Links = append(s.Links, link)
				}
			}
		}
		if t := r.tunnels[s.Name]; t != nil && t.dev != nil {
			if s.State == wg.Up {
				s.State = t.seen.State
			}
			if s.Reason == noHandshake || s.State == wg.Waiting {
				s.Reason = t.explain()
			}
		}
		r.addProbes(&s)
		r.addGroup(&s)
		s.own = s.State
		r.addAsMember(&s)
		s.Up = s.State == wg.Up
		before, known := r.status.Route(route.Name)
		if known && before.State == s.State {
			s.Since = before.Since
		}
		r.logState(before, s)
		routes = append(routes, s)
	}
	r.status.Routes = routes
}

// logState logs that the state of a route has changed, or why it is down. One that becomes
// idle, or is no longer, is not news.
func (r *reconciler) logState(before, s RouteStatus) {
	old := before.own
	switch {
	case s.own != s.State:
	case s.State == wg.Up && old != wg.Up && old != wg.Idle:
		r.log.Info("route is up", "route", s.Name, "links", s.Links, "v4", s.V4, "v6", s.V6)
	case s.State == wg.Waiting && strings.HasPrefix(s.Reason, unanswered):
		if s.Reason != unanswered && s.Reason != before.Reason {
			r.log.Warn("the probes of the route cannot find out whether it works", "route", s.Name, "reason", s.Reason)
		}
	case s.State == wg.Waiting && old != wg.Waiting:
		r.log.Info("route waits for the first handshake of its tunnel", "route", s.Name, "links", s.Links)
	case s.State == wg.Down && (old != wg.Down || before.Reason != s.Reason):
		r.log.Warn("route is down", "route", s.Name, "reason", s.Reason)
	}
}

// statusNow returns the status with the tunnels' current counters, and what the probes found
// last.
func (r *reconciler) statusNow() Status {
	routes := slices.Clone(r.status.Routes)
	for i := range routes {
		routes[i].Note = r.diverted.noteOf(routes[i].Name)
		if p, ok := r.probed[routes[i].Name]; ok {
			found := p.status()
			routes[i].Probes = &found
		}
		if g := r.groups[routes[i].Name]; g != nil {
			routes[i].Group = g.status()
		}
		t := r.tunnels[routes[i].Name]
		if t == nil {
			continue
		}
		if problem := t.fileProblem(); routes[i].Note == "" && routes[i].State != wg.Down {
			routes[i].Note = problem
		}
		if t.dev != nil {
			routes[i].Tunnel = tunnelStatus(t.status)
			routes[i].Tunnel.Peers = t.peerStatus()
			if strings.HasPrefix(routes[i].Reason, noHandshake) {
				routes[i].Reason = t.explain()
			}
		}
	}
	return Status{Routes: routes}
}

func tunnelStatus(s wg.Status) *TunnelStatus {
	out := &TunnelStatus{Kind: s.Kind}
	for _, p := range s.Peers {
		out.RX += p.RX
		out.TX += p.TX
		if p.LastHandshake.After(out.Handshake) {
			out.Handshake = p.LastHandshake
		}
		if p.Endpoint.IsValid() {
			out.Endpoints = append(out.Endpoints, p.Endpoint)
		}
	}
	return out
}
