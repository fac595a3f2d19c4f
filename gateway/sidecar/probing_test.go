package sidecar

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/wg"
)

// probedRoute replaces the tunnel by an interface of another program, with probes.
func probedRoute(f *fakeRun, _ *Options) {
	f.cfg.Routes[0].Egress = gateway.Egress{Kind: gateway.EgressInterface, Link: "tun0"}
	f.cfg.Routes[0].Probing = gateway.Probing{
		Probes: []gateway.Probe{{Kind: gateway.ProbePing, Addr: netip.MustParseAddr("10.8.0.1")}}, Every: time.Second, Fails: 2, Good: 2,
	}
	f.inputs.Links = append(f.inputs.Links, policy.Link{Name: "tun0", Index: 9, Up: true, Running: true, Direct: true, V4: true})
}

// find delivers what rounds of probes found.
func (r *fakeRun) find(results ...group.Result) {
	for _, found := range results {
		found.Member = "vpn"
		r.probes.deliver(found)
	}
	synctest.Wait()
}

// A route whose probes fail is down: its default is withdrawn, and only what they ask can be
// reached through it, so that they bring it back.
func TestRouteWithProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, probedRoute)
		const up, down = "route: 7201 via tun0; 7327 via wan0", "route: 7201 blocked but for 10.8.0.1; 7327 via wan0"
		r.want("start", up, forwarded)
		if s := r.route("vpn"); s.State != wg.Waiting || s.Up || s.Reason != unanswered {
			t.Errorf("before any probe: %+v", s)
		}
		if p := r.probes.routes; len(p) != 1 || p[0].Link != "tun0" || p[0].Closed != "" || p[0].Mark != r.cfg.Routes[0].Mark {
			t.Errorf("probes: %+v", p)
		}
		bad := group.Result{Reason: "ping 10.8.0.1: no answer within 600ms"}
		good := group.Result{OK: true, Time: time.Millisecond}
		r.find(good)
		if s := r.route("vpn"); !s.Up || s.Probes == nil || s.Probes.Time != time.Millisecond {
			t.Errorf("after a good round: %+v", s)
		}
		r.find(bad, good, bad)
		r.want("one bad round")
		r.find(bad)
		r.want("two in a row", up, down) // what is added first, then what is removed
		s := r.route("vpn")
		if s.State != wg.Down || s.V4 || s.Reason != "probe failed: "+bad.Reason || s.Probes.State != group.Bad {
			t.Errorf("down: %+v", s)
		}
		if p := r.probes.routes; len(p) != 1 || p[0].Link != "tun0" || p[0].Closed != "" {
			t.Errorf("probes of a route that is down because of them: %+v", p)
		}
		r.find(good, group.Result{Reason: "ping 10.8.0.1: no route to host"}, good)
		r.want("still down")
		r.find(good)
		r.want("two good rounds in a row", down, up)
		if s := r.route("vpn"); !s.Up {
			t.Errorf("up: %+v", s)
		}
		for _, line := range []string{`level=INFO msg="route is up" route=vpn`, `level=WARN msg="route is down" route=vpn reason="probe failed: ` + bad.Reason + `"`} {
			if !strings.Contains(r.log.String(), line) {
				t.Errorf("no line %s in the log:\n%s", line, r.log)
			}
		}

		// A link that is gone is no matter of probes.
		r.change(func() { r.inputs.Links = r.inputs.Links[:2] })
		r.events <- policy.Links
		r.want("link gone", "route: 7201 blocked; 7327 via wan0")
		if p := r.probes.routes; len(p) != 1 || !strings.Contains(p[0].Closed, "does not exist") {
			t.Errorf("probes without a link: %+v", p)
		}
		r.find(bad, bad, bad)
		if s := r.route("vpn"); !strings.Contains(s.Reason, "does not exist") {
			t.Errorf("without a link: %+v", s)
		}
		without := *r.cfg
		without.Routes = []gateway.Route{r.cfg.Routes[0]}
		without.Routes[0].Probing = gateway.Probing{}
		r.SetConfig(&without)
		synctest.Wait()
		if len(r.probes.routes) != 0 {
			t.Errorf("probes after they were removed: %+v", r.probes.routes)
		}
	})
}

// A route of which nothing can be found out is not up, and nothing is closed.
func TestProbesThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, probedRoute)
		r.want("start", "route: 7201 via tun0; 7327 via wan0", forwarded)
		r.find(group.Result{Unknown: true, Reason: "ping 10.8.0.1: this process may not ping"})
		r.want("nothing is closed")
		if s := r.route("vpn"); s.State != wg.Waiting || !strings.HasSuffix(s.Reason, "this process may not ping") {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(r.log.String(), "the probes of the route cannot find out whether it works") {
			t.Errorf("log:\n%s", r.log)
		}
	})
}

// A restart takes over a route that an earlier process found failing.
func TestRestartKeepsAFailingRouteDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, o *Options) {
			probedRoute(f, o)
			hop := policy.Hop{Link: "tun0", Index: 9, Weight: 1}
			f.state.KernelRoutes = []policy.KernelRoute{{Family: gateway.V4, Table: 7201, Dst: netip.MustParsePrefix("10.8.0.1/32"), Metric: gateway.DefaultMetric, Hops: []policy.Hop{hop}}}
		})
		synctest.Wait()
		for _, s := range r.taken() {
			if strings.Contains(s, "7201 via") {
				t.Errorf("the route is opened before its probes have found anything: %s", s)
			}
		}
		if s := r.route("vpn"); s.State != wg.Down {
			t.Errorf("%+v", s)
		}
		r.find(group.Result{OK: true}, group.Result{OK: true})
		r.want("good again", "route: 7201 blocked but for 10.8.0.1; 7327 via wan0", "route: 7201 via tun0; 7327 via wan0")
	})
}
