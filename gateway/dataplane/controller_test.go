package dataplane

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/policy"
)

const oneRoute = "routes:\n  vpn: {interface: tun0}\n"

var vpn = Requirements{Uses: []Use{{Route: "vpn", Learns: true}}}

var errRefused = errors.New("the kernel refuses it")

// run runs the loop that follows the kernel for a test in a bubble.
func run(t *testing.T, c *Controller) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.follow(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// TestRequireThatFails: requirements that cannot be met change nothing, and the next ones
// are met and supervised.
func TestRequireThatFails(t *testing.T) {
	for what, fail := range map[string]struct {
		requires Requirements
		break_   func(f *fake, err error)
	}{
		"the nft table": {vpn, func(f *fake, err error) { f.applyErr = err }},
		"another program's sets": {
			Requirements{Uses: []Use{{Route: "vpn", Learns: true, Sets: &nft.SetPair{Set4: nft.SetRef{Name: "a"}}}}},
			func(f *fake, err error) { f.foreignErr = err },
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				c := f.controller(t, oneRoute)
				if err := c.Require(t.Context(), Requirements{}); err != nil { // a Corefile without a route
					t.Fatal(err)
				}
				run(t, c)
				f.set(func() { fail.break_(f, errRefused) })
				if err := c.Require(t.Context(), Requirements{}, fail.requires); !errors.Is(err, errRefused) {
					t.Fatalf("require: %v", err)
				}
				if got := c.requirements(); len(got) != 1 || len(got[0].Uses) > 0 {
					t.Errorf("required after the failure: %+v", got)
				}
				f.set(func() { fail.break_(f, nil) })
				if err := c.Require(t.Context(), Requirements{}, fail.requires); err != nil {
					t.Fatal(err)
				}
				if c.Route("vpn").State().Down {
					t.Error("the route is down after the requirements are met")
				}
				f.set(func() { f.routes["vpn"] = policy.RouteState{} })
				c.Kick()
				synctest.Wait()
				if !c.Route("vpn").State().Down {
					t.Error("the route is not supervised")
				}
			})
		})
	}
}

func TestRequireChecks(t *testing.T) {
	f := newFake()
	c := f.controller(t, oneRoute)
	mixed := Requirements{Uses: []Use{{Route: "vpn", Learns: true}, {Route: "vpn", Learns: true, Sets: &nft.SetPair{}}}}
	if err := c.Require(t.Context(), mixed); err == nil || !strings.Contains(err.Error(), "either all route directives have `set` or none") {
		t.Errorf("own sets and another program's: %v", err)
	}
	select {
	case <-c.Ready():
		t.Error("ready although nothing was required successfully")
	default:
	}
	if f.applies() > 0 {
		t.Error("a table was applied")
	}
	if err := c.Require(t.Context(), vpn); err != nil || f.applies() != 1 {
		t.Errorf("%d tables applied, %v", f.applies(), err)
	}
	<-c.Ready()
}

// TestRetry: what the kernel refuses is tried again each second, and logged once.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.controller(t, oneRoute)
		if err := c.Require(t.Context(), vpn); err != nil {
			t.Fatal(err)
		}
		f.set(func() { f.applyErr = errRefused })
		run(t, c) // Require has kicked it
		synctest.Wait()
		before := f.applies()
		time.Sleep(5*time.Second + time.Millisecond)
		if got := f.applies() - before; got != 5 {
			t.Errorf("%d tries in 5 s", got)
		}
		f.set(func() { f.applyErr = nil })
		time.Sleep(time.Second)
		if n, m := f.log.count("not up to date"), f.log.count("up to date again"); n != 1 || m != 1 {
			t.Errorf("logged %d times that it fails and %d times that it works", n, m)
		}
		before = f.applies()
		time.Sleep(29 * time.Second)
		if got := f.applies() - before; got != 0 {
			t.Errorf("%d tries in 29 s without a failure or an event", got)
		}
	})
}

// TestSlowRead: what changes without an event is noticed, too.
func TestSlowRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.controller(t, oneRoute)
		if err := c.Require(t.Context(), vpn); err != nil {
			t.Fatal(err)
		}
		run(t, c)
		synctest.Wait()
		f.set(func() { f.routes["vpn"] = policy.RouteState{} })
		time.Sleep(29 * time.Second)
		if c.Route("vpn").State().Down {
			t.Error("noticed without an event")
		}
		time.Sleep(2 * time.Second)
		if !c.Route("vpn").State().Down {
			t.Error("not noticed in 31 s")
		}
		if n := f.log.count("packets and queries of the route are blocked"); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

// TestIPv6ComesLater: a route comes up one default at a time; only one that stays without
// IPv6 has none.
func TestIPv6ComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.controller(t, oneRoute)
		if err := c.Require(t.Context(), vpn); err != nil {
			t.Fatal(err)
		}
		run(t, c)
		show := func(s policy.RouteState) *State {
			f.set(func() { f.routes["vpn"] = s })
			c.Kick()
			synctest.Wait()
			return c.Route("vpn").State()
		}
		show(policy.RouteState{})
		if st := show(policy.RouteState{Default4: true}); !st.V6 {
			t.Error("without IPv6 in the moment in which it comes up")
		}
		if st := show(policy.RouteState{Default4: true, Default6: true}); !st.V6 {
			t.Error("the default is not seen")
		}
		show(policy.RouteState{Default4: true})
		time.Sleep(2900 * time.Millisecond)
		if !c.Route("vpn").State().V6 {
			t.Error("without IPv6 before its time is over")
		}
		time.Sleep(200 * time.Millisecond)
		if c.Route("vpn").State().V6 {
			t.Error("IPv6 is believed for ever")
		}
		if st := show(policy.RouteState{Default4: true}); st.V6 {
			t.Error("IPv6 comes back without a default")
		}
	})
}

// TestDown: without a default in its table a route is down, but not the WAN.
func TestDownRoutes(t *testing.T) {
	f := newFake()
	c := f.controller(t, oneRoute)
	for _, s := range []struct {
		route string
		seen  policy.RouteState
		down  bool
	}{
		{"vpn", policy.RouteState{}, true},
		{"vpn", policy.RouteState{Default4: true}, false},
		{"vpn", policy.RouteState{Default6: true}, false},
		{"vpn", policy.RouteState{}, true},
		{"wan", policy.RouteState{}, false},
		{"wan", policy.RouteState{Default6: true}, false},
	} {
		f.set(func() { f.routes[s.route] = s.seen })
		if err := c.Require(t.Context(), vpn); err != nil {
			t.Fatal(err)
		}
		st := c.Route(s.route).State()
		if st.Down != s.down {
			t.Errorf("%s with %+v: down %v, want %v", s.route, s.seen, st.Down, s.down)
		}
		if err := c.refresh(t.Context()); err != nil || c.Route(s.route).State() != st {
			t.Errorf("%s with %+v: a new state although nothing has changed, %v", s.route, s.seen, err)
		}
	}
}

// TestRemovedRoute: a block that still names a route which has left gateway.yaml finds it
// down, and its mark stays blocked for a moment.
func TestRemovedRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.controller(t, oneRoute)
		if err := c.Require(t.Context(), vpn); err != nil {
			t.Fatal(err)
		}
		run(t, c)
		synctest.Wait()
		c.SetConfig(parse(t, "routes:\n  office: {interface: tun1}\n"))
		synctest.Wait()
		if st := c.Route("vpn").State(); !st.Down || st.Route.OnDown != "block" {
			t.Errorf("the removed route: down %v, %s", st.Down, st.Route.OnDown)
		}
		blocks := func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			last := f.applied[len(f.applied)-1]
			return strings.Contains(last.String(), "removed")
		}
		if !blocks() {
			t.Error("its mark is not blocked")
		}
		time.Sleep(4 * time.Second)
		if blocks() {
			t.Error("its mark is blocked for ever")
		}
	})
}

// TestLogsAreNotState: a list may be called like anything that is logged, and Status
// reports problems, not what was logged of them.
func TestLogsAreNotState(t *testing.T) {
	f := newFake()
	f.resolversErr = errors.New("no resolver of the WAN is known")
	dir := t.TempDir()
	c := f.controller(t, "redirect_dns: on\nlan: [br-lan]\nroutes:\n  vpn: {interface: tun0}\nlists:\n"+
		"  resolvers: {file: "+filepath.Join(dir, "a")+"}\n  redirect_dns: {file: "+filepath.Join(dir, "b")+"}\n")
	for range 3 {
		c.reportLists()
		if err := c.Require(t.Context(), vpn); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"no resolver of the WAN is known", filepath.Join(dir, "a"), filepath.Join(dir, "b"), "are not redirected"} {
		if n := f.log.count(text); n != 1 {
			t.Errorf("%q is logged %d times", text, n)
		}
	}
	if s := c.Status(); !strings.Contains(s.Problem, "are not redirected") {
		t.Errorf("status says %q of redirect_dns", s.Problem)
	}
	c.SetConfig(parse(t, oneRoute))
	if err := c.Require(t.Context(), vpn); err != nil || c.Status().Problem != "" {
		t.Errorf("status says %q of redirect_dns, which is off (%v)", c.Status().Problem, err)
	}
}

// TestRequireList: a list without content stops an instance that is the first to name it.
func TestRequireList(t *testing.T) {
	f := newFake()
	file := filepath.Join(t.TempDir(), "mine.txt")
	if err := os.WriteFile(file, []byte("!!!\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := f.controller(t, "lists:\n  mine: {file: "+file+"}\n  other: {url: https://lists.example/other.txt}\n")
	if err := c.Require(t.Context(), Requirements{Lists: []string{"mine"}}); !errors.Is(err, ErrList) || !strings.Contains(err.Error(), file) {
		t.Errorf("a list without an entry: %v", err)
	}
	if err := c.ListErrors(); !errors.Is(err, ErrList) || strings.Contains(err.Error(), "other") {
		t.Errorf("errors of lists: %v", err)
	}
	if err := c.Require(t.Context(), Requirements{Lists: []string{"other"}}); err != nil {
		t.Errorf("a list that is not fetched yet: %v", err)
	}
}

func TestDown(t *testing.T) {
	for _, running := range []bool{false, true} {
		f := newFake()
		c := f.controller(t, oneRoute)
		ended := make(chan error, 1)
		if running {
			go func() { ended <- c.Run(t.Context()) }()
			for !c.started.Load() {
				time.Sleep(time.Millisecond)
			}
		}
		if err := c.Require(t.Context(), vpn); err != nil {
			t.Fatal(err)
		}
		if err := c.Down(t.Context()); err != nil || !f.removed || !f.closed {
			t.Errorf("running %v: removed %v, closed %v, %v", running, f.removed, f.closed, err)
		}
		if running {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if err := c.Require(t.Context(), vpn); !errors.Is(err, learned.ErrClosed) {
			t.Errorf("running %v: required after Down: %v", running, err)
		}
	}
}

func parseAddrs(addrs []string) []netip.Addr {
	var all []netip.Addr
	for _, a := range addrs {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

func TestAdmit(t *testing.T) {
	f := newFake()
	c := f.controller(t, oneRoute)
	r := c.Route("vpn")
	asked := 0
	limit := func(fresh int, _ bool) error {
		asked += fresh
		return nil
	}
	admit := func(name string, addrs ...string) (int, error) {
		return r.Admit(t.Context(), Answer{Name: name, Addrs: parseAddrs(addrs), Need: time.Minute, Want: time.Hour}, limit)
	}
	if n, err := admit("a.example.", "192.168.1.1", "8.8.8.8", "fe80::1", "2606:4700::1"); n != 2 || err != nil || asked != 2 || f.learns != 1 {
		t.Errorf("%d routed, %d fresh, learned %d times, %v", n, asked, f.learns, err)
	}
	if n, err := admit("a.example.", "127.0.0.1"); n != 0 || err != nil || f.learns != 1 {
		t.Errorf("special use: %d routed, learned %d times, %v", n, f.learns, err)
	}
	if _, err := admit("A.Example.", "8.8.8.8"); err != nil || f.learns != 1 || asked != 2 {
		t.Errorf("known: learned %d times, %v", f.learns, err)
	}
	if _, err := admit("b.example.", "8.8.8.8"); err != nil || f.learns != 1 || asked != 2 {
		t.Errorf("known for another name: learned %d times, %v", f.learns, err)
	}
	if got := f.names[netip.MustParseAddr("8.8.8.8")]; !slices.Equal(got, []string{"a.example.", "b.example."}) {
		t.Errorf("names %v", got)
	}
	f.elements[netip.MustParseAddr("8.8.8.8")] = time.Now().Add(time.Second)
	if _, err := admit("a.example.", "8.8.8.8"); err != nil || f.learns != 2 || asked != 2 {
		t.Errorf("to be prolonged: learned %d times, %d fresh, %v", f.learns, asked, err)
	}
	limit = func(int, bool) error { return errRefused }
	if n, err := admit("c.example.", "9.9.9.9"); n != 1 || !errors.Is(err, errRefused) || f.learns != 2 {
		t.Errorf("over the limit: %d routed, learned %d times, %v", n, f.learns, err)
	}
	limit = nil
	f.learnErr = learned.ErrSetFull
	if _, err := admit("c.example.", "9.9.9.9"); !errors.Is(err, learned.ErrSetFull) {
		t.Errorf("a full set: %v", err)
	}
}

// TestAdmitKnown: an answer from the cache costs no memory.
func TestAdmitKnown(t *testing.T) {
	b := newLab(t)
	b.start()
	a := Answer{Name: "www.A.example.", Addrs: parseAddrs([]string{"8.8.8.8", "8.8.4.4", "2606:4700::1"}), Need: time.Minute, Want: time.Hour}
	admit := func() {
		if _, err := b.route["vpn"].Admit(t.Context(), a, nil); err != nil {
			t.Fatal(err)
		}
	}
	admit()
	ctx := t.Context()
	r := b.route["vpn"]
	// What other goroutines allocate meanwhile is counted too, so one quiet moment will do.
	fewest := math.Inf(1)
	for range 50 {
		if fewest = min(fewest, testing.AllocsPerRun(100, func() { _, _ = r.Admit(ctx, a, nil) })); fewest == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if fewest > 0 {
		t.Errorf("%v allocations", fewest)
	}
	const rounds = 100_000
	began := time.Now()
	for range rounds {
		_, _ = r.Admit(ctx, a, nil)
	}
	t.Logf("%v an answer", time.Since(began)/rounds)
}
