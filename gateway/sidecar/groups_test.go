package sidecar

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/wg"
)

// groupOfTwo replaces the tunnel by two interfaces and a group of them, table 7209.
func groupOfTwo(move gateway.GroupMove) func(*fakeRun, *Options) {
	return func(f *fakeRun, _ *Options) {
		var routes []gateway.Route
		for i, link := range []string{"tun0", "tun1"} {
			n := i + 1
			routes = append(routes, gateway.Route{
				Name: link, Number: n, Mark: f.cfg.Mask.Mark(n), Table: gateway.DefaultTable + n, Priority: f.cfg.Priority + n,
				Egress: gateway.Egress{Kind: gateway.EgressInterface, Link: link},
			})
			f.inputs.Links = append(f.inputs.Links, policy.Link{Name: link, Index: 8 + n, Up: true, Running: true, Direct: true, V4: true})
		}
		f.cfg.Routes = append(routes, gateway.Route{
			Name: "vpn", Number: 9, Mark: f.cfg.Mask.Mark(9), Table: gateway.DefaultTable + 9, Priority: f.cfg.Priority + 9,
			Egress: gateway.Egress{Kind: gateway.EgressGroup},
			Group: &gateway.Group{
				Members: []gateway.Member{{Route: "tun0", Weight: 1}, {Route: "tun1", Weight: 1}}, Policy: gateway.Failover, Hold: time.Hour, Move: move,
				Probing: gateway.Probing{Probes: []gateway.Probe{{Kind: gateway.ProbePing, Addr: netip.MustParseAddr("10.8.0.1")}}, Every: time.Second, Fails: 1, Good: 1},
			},
		})
	}
}

// found delivers a round of probes through each member.
func (r *fakeRun) found(ok ...bool) {
	for i, good := range ok {
		r.probes.deliver(group.Result{Member: "vpn/" + []string{"tun0", "tun1"}[i], OK: good, Reason: "ping 10.8.0.1: no answer"})
	}
	synctest.Wait()
}

func (r *fakeRun) table(want string) {
	r.t.Helper()
	synctest.Wait()
	r.fakeSystem.mu.Lock()
	defer r.fakeSystem.mu.Unlock()
	var links []string
	for _, k := range r.state.KernelRoutes {
		if k.Table == gateway.DefaultTable+9 && !k.Dst.IsValid() {
			links = append(links, k.Links()...)
		}
	}
	if got := strings.Join(links, " "); got != want {
		r.t.Errorf("the group's table has defaults by %q, want %q", got, want)
	}
}

// A group's table has the default of the member in force, and a member that fails loses the
// flows that the group gave it, unless they are to wait.
func TestGroupMoves(t *testing.T) {
	for _, move := range []gateway.GroupMove{gateway.MoveCut, gateway.MoveKeep} {
		t.Run(string(move), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := runFake(t, groupOfTwo(move))
				r.table("tun0")
				if s := r.route("vpn"); s.State != wg.Waiting || s.Reason != unanswered || len(r.probes.routes) != 2 || r.probes.routes[0].Mark != r.cfg.Routes[0].Mark {
					t.Errorf("before any probe: %+v, probes %+v", s, r.probes.routes)
				}
				r.found(true, true)
				if s := r.route("vpn"); !s.Up || !slices.Equal(s.Group.InForce, []string{"tun0"}) {
					t.Errorf("%+v", s)
				}
				r.taken()
				r.found(false, true)
				r.table("tun1")
				cut := "cut flows of " + r.cfg.Routes[0].Mark.String() + " that " + r.cfg.Routes[2].Mark.String() + " gave"
				if got := slices.Contains(r.taken(), cut); got != (move == gateway.MoveCut) {
					t.Errorf("flows ended: %t", got)
				}
				for _, line := range []string{`probes of a member fail" route=vpn member=tun0 reason="ping 10.8.0.1: no answer"`, `the group leaves by other members" route=vpn from=tun0 to=tun1`} {
					if !strings.Contains(r.log.String(), line) {
						t.Errorf("no line %s in the log:\n%s", line, r.log)
					}
				}
				if s := r.route("tun0"); s.State != wg.Down || s.Reason != "probes of vpn through it fail: ping 10.8.0.1: no answer" || strings.Contains(r.log.String(), `"route is down" route=tun0`) {
					t.Errorf("a member whose probes fail: %+v\n%s", s, r.log)
				}
				if s := r.route("tun1"); s.State != wg.Up {
					t.Errorf("the member in force: %+v", s)
				}
				r.found(false, false)
				r.table("tun1") // what they ask is gone
				if s := r.route("vpn"); s.State != wg.Down || !s.V4 {
					t.Errorf("all fail: %+v", s)
				}
				r.change(func() { r.inputs.Links = r.inputs.Links[:len(r.inputs.Links)-1] })
				r.events <- policy.Links
				r.table("tun0")
				r.change(func() { r.inputs.Links = r.inputs.Links[:len(r.inputs.Links)-1] })
				r.events <- policy.Links
				r.table("")
				if s := r.route("vpn"); s.Up || !strings.Contains(s.Reason, "does not exist") {
					t.Errorf("no links: %+v", s)
				}
			})
		})
	}
}

// A start adopts the member that an earlier process has left in force.
func TestGroupIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, o *Options) {
			groupOfTwo(gateway.MoveCut)(f, o)
			hop := policy.Hop{Link: "tun1", Index: 10, Weight: 1}
			f.state.KernelRoutes = []policy.KernelRoute{{Family: gateway.V4, Table: gateway.DefaultTable + 9, Metric: gateway.DefaultMetric, Hops: []policy.Hop{hop}}}
		})
		r.table("tun1")
		r.found(true, true)
		r.table("tun1")
		if strings.Contains(r.log.String(), "leaves by other members") {
			t.Errorf("log:\n%s", r.log)
		}
	})
}
