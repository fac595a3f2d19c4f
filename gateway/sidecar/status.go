package sidecar

import (
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
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
	Name   string             `json:"name"`
	Egress gateway.EgressKind `json:"egress"`
	Links  []string           `json:"links,omitempty"` // interfaces that its defaults leave by
	Up     bool               `json:"up"`              // its table has a default
	V4     bool               `json:"v4"`              // and one of IPv4
	V6     bool               `json:"v6"`
	Reason string             `json:"why,omitempty"`  // why it is not up
	Since  time.Time          `json:"since"`          // when it went up, or down
	Note   string             `json:"note,omitempty"` // what is wrong although it is up
	Tunnel *TunnelStatus      `json:"tunnel,omitempty"`
}

// TunnelStatus is a WireGuard tunnel that is open.
type TunnelStatus struct {
	Kind      wg.Kind          `json:"kind"`
	Handshake time.Time        `json:"handshake"` // the latest; zero: never
	RX        int64            `json:"rx"`        // bytes
	TX        int64            `json:"tx"`
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`
}

// updateStatus derives from the applied state which routes are up, and logs changes.
func (r *reconciler) updateStatus(cfg *gateway.Config, want policy.State) {
	var routes []RouteStatus
	for _, route := range cfg.AllRoutes() {
		s := RouteStatus{Name: route.Name, Egress: route.Egress.Kind, Reason: want.Waiting[route.Name], Since: time.Now()}
		for _, k := range want.KernelRoutes {
			if k.Table != route.Table || k.Unreachable {
				continue
			}
			s.Up = true
			s.V4 = s.V4 || k.Family == gateway.V4
			s.V6 = s.V6 || k.Family == gateway.V6
			for _, link := range k.Links() {
				if !slices.Contains(s.Links, link) {
					s.Links = append(s.Links, link)
				}
			}
		}
		before, known := r.status.Route(route.Name)
		if known && before.Up == s.Up {
			s.Since = before.Since
		}
		switch {
		case s.Up && (!known || !before.Up):
			r.log.Info("route is up", "route", s.Name, "links", s.Links, "v4", s.V4, "v6", s.V6)
		case !s.Up && (!known || before.Up || before.Reason != s.Reason):
			r.log.Warn("route is down", "route", s.Name, "reason", s.Reason)
		}
		routes = append(routes, s)
	}
	r.status.Routes = routes
}

// statusNow returns the status with the tunnels' current counters.
func (r *reconciler) statusNow() Status {
	routes := slices.Clone(r.status.Routes)
	for i := range routes {
		t := r.tunnels[routes[i].Name]
		if t == nil {
			continue
		}
		if routes[i].Up {
			routes[i].Note = t.fileProblem()
		}
		if t.dev != nil {
			routes[i].Tunnel = tunnelStatus(t.status)
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
