package dataplane

import (
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/lastminute"
	"github.com/nameroute/nameroute/lists"
)

// Status is what the controller knows at one moment.
type Status struct {
	Table    bool         // an nft table is wanted, or sets of another program are used
	Features nft.Features // of the kernel; meaningful with Table
	Holder   int          // the process that keeps the table while we do not run; 0: none
	Unheld   string       // why that is not sure; "" where it is
	Routes   []RouteStatus
	Sets     []SetStatus
	Lists    []lists.Report
	Redirect gateway.Redirect
	Problem  string          // what of Redirect cannot be had, and why; "" where all can
	Counts   firewall.Counts // of the table, where it is ours
	Err      error           // why the kernel could not be asked; the rest is filled in
}

// RouteStatus is a route as the dataplane sees it.
type RouteStatus struct {
	Route       gateway.Route
	Up          bool
	V4, V6      bool
	Resolvers   []netip.AddrPort // its own
	From        string           // where Resolvers are from
	Dropped     nft.Counter      // by its kill switch, since the table was made
	Overwritten nft.Counter      // of Dropped: packets whose mark another program had overwritten
	Inbound     nft.Counter      // of connections from its tunnel, refused, since then
	Default     []string         // whose packets to what nothing names take it
}

// SetStatus is one of a route's sets of learned addresses.
type SetStatus struct {
	Set      nft.SetRef
	Route    string
	Family   gateway.Family
	Elements int
	Capacity int // 0: without a limit, or not known, because the set is another program's
	// PerMinute is how many addresses were learned or prolonged in the last minute.
	PerMinute int
}

// Status returns what the controller knows now.
func (c *Controller) Status() Status {
	cfg := c.Config()
	c.mu.Lock()
	redirect := c.redirect
	var newest Requirements // where a reload is under way
	if n := len(c.required); n > 0 {
		newest = c.required[n-1]
	}
	c.mu.Unlock()
	s := Status{Lists: c.Lists(), Redirect: cfg.Redirect, Table: len(newest.Uses) > 0}
	if redirect != nil {
		s.Problem = redirect.Error()
	}
	if s.Table {
		s.Features = c.kernel.Features()
		holder, err := c.holderState()
		if s.Holder = holder; err != nil {
			s.Unheld = err.Error()
		}
		if newest.wantsTable() {
			s.Counts, s.Err = c.system.Counts()
		}
		s.Sets = c.setStatus(newest, cfg)
	}
	for _, r := range cfg.AllRoutes() {
		st := c.state(r.Name).Load()
		s.Routes = append(s.Routes, RouteStatus{
			Route: r, Up: !st.Down, V4: st.V4, V6: st.V6, Resolvers: st.Resolvers, From: st.ResolversFrom, Dropped: s.Counts.Dropped[r.Name], Overwritten: s.Counts.Overwritten[r.Name],
			Inbound: s.Counts.Inbound[r.Name], Default: cfg.DefaultOf(r.Name),
		})
	}
	return s
}

// setStatus counts what the routes have learned, in the order of gateway.yaml. It does not
// ask the kernel: what the kernel has is followed by its events.
func (c *Controller) setStatus(of Requirements, cfg *gateway.Config) []SetStatus {
	var all []SetStatus
	for _, r := range cfg.Choices() {
		pair, capacity, found := firewall.Pair(r), cfg.SetSize, false
		for _, u := range of.Uses {
			if u.Route == r.Name && u.Learns {
				found = true
				if u.Sets != nil {
					pair, capacity = *u.Sets, 0
				}
			}
		}
		if !found {
			continue
		}
		v4, v6 := c.meter(r.Name).Sum(time.Now())
		all = append(all,
			SetStatus{pair.Set4, r.Name, gateway.V4, len(c.kernel.Learned(pair.Set4)), capacity, v4},
			SetStatus{pair.Set6, r.Name, gateway.V6, len(c.kernel.Learned(pair.Set6)), capacity, v6})
	}
	return all
}

// meter counts what a route has learned. It is used after the kernel was asked, which costs
// far more than its lock.
func (c *Controller) meter(route string) *lastminute.Addresses {
	if m, ok := c.meters.Load(route); ok {
		return m.(*lastminute.Addresses)
	}
	m, _ := c.meters.LoadOrStore(route, new(lastminute.Addresses))
	return m.(*lastminute.Addresses)
}
