package dnshalf

import (
	"errors"
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/lists"
)

// Snapshot is what the dns half knows at one moment, for `nameroute status`.
type Snapshot struct {
	Table     bool         // there is an nft table to speak of: some block names a route
	Features  nft.Features // of the kernel; meaningful with Table
	Routes    []RouteSnapshot
	Sets      []SetSnapshot
	Lists     []lists.Report
	Upstreams []UpstreamStatus
	Blocks    []BlockSnapshot
	Names     int // names that listed names led to
	Redirect  gateway.Redirect
	Unsent    string          // what of Redirect cannot be had, and why; "" where all can
	Counts    firewall.Counts // of the table, where it is ours
}

// RouteSnapshot is a route as the dns half sees it.
type RouteSnapshot struct {
	Route     gateway.Route
	Up        bool
	V4, V6    bool
	Resolvers []netip.AddrPort // its own
	Stopped   nft.Counter      // by its closed door, since the table was made
}

// SetSnapshot is one of a route's sets of learned addresses.
type SetSnapshot struct {
	Set      nft.SetRef
	Route    string
	Family   gateway.Family
	Elements int
	Capacity int // 0: without a limit, or not known, because the set is somebody else's
	// PerMinute is how many addresses were learned or prolonged in the last minute.
	PerMinute int
}

// UpstreamStatus is one resolver that a block asks, as the plugin upstream reports it.
type UpstreamStatus struct {
	Route    string
	Address  string        // as it stands in the Corefile
	Healthy  bool          // it is asked like the others
	Fallback bool          // it is asked by the WAN, because the route is down
	Latency  time.Duration // of its last answers, smoothed; 0: none yet
	Asked    uint64        // questions sent, over every transport
	Answered uint64
	LastSeen time.Time // of its last answer; zero: none yet
}

// OnStatus has f asked for its resolvers whenever a snapshot is taken. It is called
// from any goroutine, until the instance ends.
func (h *Handle) OnStatus(f func() []UpstreamStatus) {
	h.plan.reports = append(h.plan.reports, f)
}

// Snapshot tells what the half knows now. Where the kernel cannot be asked, the error
// says so and the rest is filled in.
func (h *Half) Snapshot() (Snapshot, error) {
	cfg := h.Config()
	h.mu.Lock()
	var p *plan
	if len(h.plans) > 0 {
		p = h.plans[len(h.plans)-1] // the newest, where a reload is under way
	}
	kernel := h.kernel
	h.mu.Unlock()
	s := Snapshot{Lists: h.Lists(), Names: h.Names().Len(), Redirect: cfg.Redirect}
	if why, ok := h.said.Load(saidRedirect); ok {
		s.Unsent, _ = why.(string)
	}
	if p == nil {
		return s, nil
	}
	var errs []error
	if s.Table = kernel != nil; s.Table {
		s.Features = kernel.Features()
		if wantsTable([]*plan{p}) {
			var err error
			s.Counts, err = firewall.ReadCounts()
			errs = append(errs, err)
		}
		s.Sets = h.sets(p, cfg)
	}
	for _, r := range cfg.AllRoutes() {
		s.Routes = append(s.Routes, h.routeSnapshot(r, s.Counts.Dropped[r.Name]))
	}
	for _, f := range p.reports {
		s.Upstreams = append(s.Upstreams, f()...)
	}
	var err error
	s.Blocks, err = p.blockSnapshots()
	return s, errors.Join(append(errs, err)...)
}

func (h *Half) routeSnapshot(r gateway.Route, stopped nft.Counter) RouteSnapshot {
	st := h.cell(r.Name).Load()
	return RouteSnapshot{
		Route: r, Up: !st.Down, V4: st.V4, V6: st.V6, Resolvers: st.Resolvers,
		Stopped: stopped,
	}
}

// sets counts what the routes have learned, in the order of gateway.yaml. It asks no
// kernel: what the kernel has is followed by its notices.
func (h *Half) sets(p *plan, cfg *gateway.Config) []SetSnapshot {
	var all []SetSnapshot
	for _, r := range cfg.Routes {
		pair, capacity, found := firewall.Pair(r), cfg.SetSize, false
		for _, used := range p.routes {
			if used.name == r.Name && used.learns {
				found = true
				if used.foreign != nil {
					pair, capacity = *used.foreign, 0
				}
			}
		}
		if !found {
			continue
		}
		v4, v6 := h.meter(r.Name).perMinute(time.Now())
		all = append(all,
			SetSnapshot{pair.Set4, r.Name, gateway.V4, len(h.kernel.Learned(pair.Set4)), capacity, v4},
			SetSnapshot{pair.Set6, r.Name, gateway.V6, len(h.kernel.Learned(pair.Set6)), capacity, v6})
	}
	return all
}
