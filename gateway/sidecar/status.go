package sidecar

import (
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/wg"
)

// Status is what the loop knows of every route, in the order of the file, wan last.
type Status struct {
	Routes []RouteStatus `json:"routes"`
}

// Route finds one by its name.
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
	V4     bool               `json:"v4"`              // one of IPv4
	V6     bool               `json:"v6"`
	Why    string             `json:"why,omitempty"`  // it is not up
	Since  time.Time          `json:"since"`          // it is up, or not
	Note   string             `json:"note,omitempty"` // what is wrong although it is up
	Tunnel *TunnelStatus      `json:"tunnel,omitempty"`
}

// TunnelStatus is a WireGuard tunnel that is open.
type TunnelStatus struct {
	Kind      wg.Kind          `json:"kind"`
	Handshake time.Time        `json:"handshake"` // the youngest; zero: never
	RX        int64            `json:"rx"`        // bytes
	TX        int64            `json:"tx"`
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`
}

// Status tells how the routes are. It may be asked at any time.
func (c *Controller) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{Routes: slices.Clone(c.status.Routes)}
}

// remember takes the routes' ups and downs from what was applied, and logs changes.
func (c *Controller) remember(cfg *gateway.Config, want policy.State) {
	old := c.Status()
	var routes []RouteStatus
	for _, r := range cfg.AllRoutes() {
		s := RouteStatus{Name: r.Name, Egress: r.Egress.Kind, Why: want.Waiting[r.Name], Since: time.Now()}
		for _, kr := range want.KernelRoutes {
			if kr.Table != r.Table || kr.Unreachable {
				continue
			}
			s.Up = true
			s.V4 = s.V4 || kr.Family == gateway.V4
			s.V6 = s.V6 || kr.Family == gateway.V6
			for _, link := range kr.Links() {
				if !slices.Contains(s.Links, link) {
					s.Links = append(s.Links, link)
				}
			}
		}
		before, known := old.Route(r.Name)
		if known && before.Up == s.Up {
			s.Since = before.Since
		}
		switch {
		case s.Up && (!known || !before.Up):
			c.log.Info("route is up", "route", s.Name, "links", s.Links, "v4", s.V4, "v6", s.V6)
		case !s.Up && (!known || before.Up || before.Why != s.Why):
			c.log.Warn("route is down", "route", s.Name, "reason", s.Why)
		}
		routes = append(routes, s)
	}
	c.mu.Lock()
	c.status.Routes = routes
	c.mu.Unlock()
}

// publish adds what the tunnels say just now.
func (c *Controller) publish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	routes := slices.Clone(c.status.Routes)
	for i := range routes {
		t := c.tunnels[routes[i].Name]
		if t == nil {
			continue
		}
		routes[i].Note, routes[i].Tunnel = "", nil
		if routes[i].Up {
			routes[i].Note = t.problem()
		}
		if t.dev != nil {
			routes[i].Tunnel = tunnelStatus(t.status)
		}
	}
	c.status.Routes = routes
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
