package sidecar

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/wg"
)

// The steps of a start.
const (
	blocked   = "route: 7201 blocked; 7327 via wan0"
	opened    = "open wg0"
	marked    = "configure wg0 with mark 0x7f000000"
	routed    = "route: 7201 via wg0; 7327 via wan0"
	forwarded = "forward"
)

// Packets are blocked before the tunnel is opened, its firewall mark is set before it is
// routed to, and forwarding waits for the nft table.
func TestOrderOfAnApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, asked := make(chan struct{}), 0
		r := runFake(t, func(_ *fakeRun, o *Options) {
			o.TableReady = func(ctx context.Context) error {
				if asked++; asked == 1 {
					return errors.New("no nft table inet nameroute")
				}
				select {
				case <-table:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
		<-r.Ready()
		r.want("start", blocked, opened, marked, routed)
		time.Sleep(time.Minute)
		r.want("without a table")
		close(table)
		r.want("with a table", forwarded)
		if s := r.route("vpn"); !s.Up || !s.V4 || !s.V6 || s.Tunnel == nil {
			t.Errorf("vpn: %+v", s)
		}
		r.stop()
		r.want("stop leaves everything in place", "close wg0")
	})
}

// While packets cannot be blocked nothing is set up that would let them out.
func TestFailedKillSwitchOpensNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, _ *Options) { f.fail("route", errors.New("operation not permitted")) })
		time.Sleep(time.Minute)
		r.want("kill switch fails")
		if n := strings.Count(r.log.String(), `msg="kill switch" error="operation not permitted"`); n != 1 {
			t.Errorf("logged %d times, want once:\n%s", n, r.log)
		}
		r.fail("route", nil)
		time.Sleep(2 * time.Second) // the next probe
		r.want("kill switch works", blocked, opened, marked, routed, forwarded)
	})
}

// An apply that fails is repeated without any event, after a pause of 1, 2, 4, 8 and 16 s,
// at the next probe; everything is read every 30 s anyway.
func TestFailedApplyIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, _ *Options) { f.cfg.Routes = nil })
		r.want("start", "route: 7327 via wan0", forwarded)
		r.fail("route", errors.New("operation not permitted"))
		r.events <- policy.Defaults
		synctest.Wait()
		began, before := time.Now(), r.readCount()
		var at []int
		for range 90 {
			time.Sleep(time.Second)
			synctest.Wait()
			if n := r.readCount(); n != before {
				at, before = append(at, int(time.Since(began).Seconds())), n
			}
		}
		if want := []int{2, 4, 8, 16, 32, 62}; !slices.Equal(at, want) {
			t.Errorf("repeated in seconds %v, want %v", at, want)
		}
		r.fail("route", nil)
		r.change(func() { r.inputs.Defaults = nil })
		time.Sleep(30 * time.Second)
		r.want("works again", "route: 7327 blocked")
	})
}

// A later failure of the kernel does not take down what blocks.
func TestFailureBehindTheKillSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, nil)
		r.want("start", blocked, opened, marked, routed, forwarded)
		r.fail("route", errors.New("file exists"))
		r.change(func() { r.inputs.Defaults = nil }) // the WAN is gone, and that cannot be applied
		r.events <- policy.Defaults
		synctest.Wait()
		if log := r.log.String(); strings.Contains(log, "kill switch") || !strings.Contains(log, `msg="policy routing" error="file exists"`) {
			t.Errorf("log:\n%s", log)
		}
	})
}

// Without its firewall mark a tunnel's own packets would be routed into it.
func TestTunnelWithoutMarkIsNotRoutedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, _ *Options) { f.fail("mark", errors.New("no such device")) })
		r.want("start", blocked, opened, forwarded)
		if s := r.route("vpn"); s.Up || s.Reason != "no such device" {
			t.Errorf("vpn: %+v", s)
		}
		r.fail("mark", nil)
		time.Sleep(30 * time.Second)
		r.want("mark is set", marked, routed)
	})
}

// An address that the kernel refuses does not close the route.
func TestRefusedAddressClosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, _ *Options) { f.fail("configure", errors.New("IPv6 is disabled")) })
		r.want("start", blocked, opened, marked, routed, forwarded)
		if s := r.route("vpn"); !s.Up {
			t.Errorf("vpn: %+v", s)
		}
	})
}

// A tunnel that cannot be opened is tried again after 1 s, then twice as long each time,
// up to a minute; a probe comes every 2 s.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, _ *Options) { f.fail("open", errors.New("no tun")) })
		began := time.Now()
		var at []int
		for range 200 {
			time.Sleep(time.Second)
			synctest.Wait()
			if slices.Contains(r.taken(), opened) {
				at = append(at, int(time.Since(began).Seconds()))
			}
		}
		if want := []int{1, 2, 4, 8, 16, 32, 64, 124, 184}; !slices.Equal(at, want) {
			t.Errorf("opened in seconds %v, want %v", at, want)
		}
		if s := r.route("vpn"); s.Up || s.Reason != "no tun" {
			t.Errorf("vpn: %+v", s)
		}
		r.change(func() { r.peers[0].LastHandshake = time.Now() })
		r.fail("open", nil)
		time.Sleep(time.Minute)
		if s := r.route("vpn"); !s.Up {
			t.Errorf("vpn: %+v", s)
		}
	})
}

// A bad provider file closes its own route only, and opens it when it is corrected.
func TestBadProviderFileClosesItsRouteOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, _ *Options) {
			f.provide("[Interface]\nPrivateKey = no\n")
			f.cfg.Routes = append(f.cfg.Routes, gateway.Route{
				Name: "office", Number: 2, Mark: f.cfg.Mask.Mark(2), Table: gateway.DefaultTable + 2, Priority: f.cfg.Priority + 2,
				Egress: gateway.Egress{Kind: gateway.EgressInterface, Link: "tun0"},
			})
			f.inputs.Links = append(f.inputs.Links, policy.Link{Name: "tun0", Index: 7, Up: true, Running: true, Direct: true, V4: true})
		})
		time.Sleep(time.Minute)
		r.want("start", "route: 7201 blocked; 7202 via tun0; 7327 via wan0", forwarded)
		if s := r.route("vpn"); s.Up || !strings.Contains(s.Reason, "wg0.conf:2: PrivateKey") {
			t.Errorf("vpn: %+v", s)
		}
		if s := r.route("office"); !s.Up {
			t.Errorf("office: %+v", s)
		}
		if n := strings.Count(r.log.String(), `msg="cannot use the provider file"`); n != 1 {
			t.Errorf("logged %d times, want once:\n%s", n, r.log)
		}
		r.provide(goodConf)
		time.Sleep(2 * time.Second)
		r.want("corrected", opened, marked, "route: 7201 via wg0; 7202 via tun0; 7327 via wan0")
	})
}

// A route whose peer is silent is blocked while the tunnel keeps trying, and comes back by
// itself.
func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, nil)
		r.want("start", blocked, opened, marked, routed, forwarded)
		d := r.device()
		d.set(func(s *wg.Status) { s.Peers = []wg.PeerStatus{{LastHandshake: time.Now(), RX: 1000, TX: 1000}} })
		for range 100 { // packets that go unanswered
			time.Sleep(2 * time.Second)
			d.set(func(s *wg.Status) { s.Peers[0].TX += 1000 })
		}
		r.want("silent", "keep wg0 trying: true", blocked)
		if s := r.route("vpn"); s.Up || !strings.HasPrefix(s.Reason, "peer is silent: last handshake 3m") {
			t.Errorf("vpn: %+v", s)
		}
		d.set(func(s *wg.Status) { s.Peers[0].LastHandshake, s.Peers[0].RX = time.Now(), 2000 })
		time.Sleep(2 * time.Second)
		r.want("back", "keep wg0 trying: false", routed)
	})
}

// Another program deletes the interface: its route is blocked and it is recreated at once.
func TestDeletedInterfaceIsRecreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, nil)
		time.Sleep(time.Minute)
		r.want("start", blocked, opened, marked, routed, forwarded)
		_ = (*fakeDevices)(r.fakeSystem).Remove("wg0")
		r.device().end()
		r.want("recreated", "remove wg0", "close wg0", opened, marked)
		if s := r.route("vpn"); !s.Up {
			t.Errorf("vpn: %+v", s)
		}
	})
}

// An apply that changes nothing reads the kernel once.
func TestIdleReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, nil)
		time.Sleep(time.Second)
		r.want("start", blocked, opened, marked, routed, forwarded)
		before := r.readCount()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := r.readCount() - before; n != 10 {
			t.Errorf("%d reads in 5 min without an event, want one every 30 s", n)
		}
		r.want("nothing is changed")
	})
}

// Another program that undoes every change at once slows the reconciler down.
func TestChangesThatDoNotLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, _ *Options) {
			f.applied = func() {
				f.state.Rules = f.state.Rules[1:]
				time.AfterFunc(10*time.Millisecond, func() { f.events <- policy.Rules })
			}
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		n := 0
		for _, s := range r.taken() {
			if s == routed {
				n++
			}
		}
		// On average it applies every 100 ms, and each apply makes the change twice, since it
		// is undone in between; without the detector it would apply every 10 ms.
		if n < flapTimes || n > 250 {
			t.Errorf("repaired %d times in 10 s", n)
		}
		if n := strings.Count(r.log.String(), `level=ERROR msg="changes do not last"`); n != 1 {
			t.Errorf("reported %d times, want once:\n%s", n, r.log)
		}
		r.change(func() { r.applied = nil })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := r.route("vpn"); !s.Up {
			t.Errorf("vpn: %+v", s)
		}
	})
}

// Down removes what is ours, and ends Run.
func TestDownRemovesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runFake(t, func(f *fakeRun, _ *Options) { f.links = []wg.Link{{Name: "wg8"}} })
		r.want("start", blocked, "remove wg8", opened, marked, routed, forwarded)
		if err := r.Down(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.want("Down", "remove routes", "delete flows 0x1000000/0x7f000000", "close wg0", "remove wg0")
		if err := <-r.end; err != nil {
			t.Errorf("Run: %v", err)
		}
		r.end <- nil // for the end of the test
		if err := r.Down(t.Context()); err == nil {
			t.Error("a second Down has no error")
		}
		if left, _ := os.ReadDir(filepath.Join(filepath.Dir(r.conf), "wireguard")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// Down works without Run, as after a crash.
func TestDownWithoutRun(t *testing.T) {
	f := newFakeSystem(t)
	f.links = []wg.Link{{Name: "wg0"}}
	cfg := &gateway.Config{Mask: gateway.DefaultMask, Priority: gateway.DefaultPriority}
	f.state.Rules = []policy.Rule{{Family: gateway.V4, Mark: cfg.Mask.Mark(3), Table: 7203}, {Family: gateway.V4, Mark: cfg.WANRoute().Mark, Table: 7327}}
	c := newController(Options{Config: cfg, State: t.TempDir()}, f.system())
	if err := c.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{"remove routes", "delete flows 0x3000000/0x7f000000", "remove wg0"}
	if got := f.taken(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
