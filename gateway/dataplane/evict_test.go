package dataplane

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/span"
	"github.com/nameroute/nameroute/gateway/policy"
)

func rangesOf(prefixes ...string) ranges {
	var all []netip.Prefix
	for _, p := range prefixes {
		all = append(all, netip.MustParsePrefix(p))
	}
	return ranges{span.Merge(all, gateway.V4), span.Merge(all, gateway.V6)}
}

// Of the flows without a route those are reset whose destination has joined one, but for
// what is never rerouted.
func TestEvictChooses(t *testing.T) {
	joined := func(addrs ...string) map[netip.Addr]bool {
		m := map[netip.Addr]bool{}
		for _, a := range addrs {
			m[netip.MustParseAddr(a)] = true
		}
		return m
	}
	w := eviction{
		excluded: rangesOf("192.168.1.0/24", "8.8.4.4/32", "fe80::/10"),
		routes: []joining{
			{route: gateway.Route{Name: "vpn"}, learned: joined("8.8.8.8", "8.8.4.4", "10.1.1.1", "2606:4700::1"),
				covered: rangesOf("9.0.0.0/8", "198.18.0.0/15", "2620::/16"), looked: rangesOf("9.9.9.0/24")},
			{route: gateway.Route{Name: "office", LearnPrivate: true}, learned: joined("10.1.1.1"), covered: rangesOf("172.16.0.0/12")},
		},
	}
	for _, c := range []struct{ dst, to, want string }{
		{"8.8.8.8", "", "vpn"},
		{"2606:4700::1", "", "vpn"},
		{"9.9.8.255", "", "vpn"},
		{"9.9.9.9", "", ""}, // was covered before
		{"9.9.10.0", "", "vpn"},
		{"2620:fe::9", "", "vpn"},
		{"8.8.4.4", "", ""},            // excluded
		{"8.8.8.8", "192.168.1.1", ""}, // redirected to the box
		{"8.8.8.8", "1.1.1.1", "vpn"},
		{"192.168.1.1", "", ""},
		{"10.1.1.1", "", "office"}, // special use
		{"198.18.0.1", "", ""},
		{"172.20.1.1", "", "office"},
		{"1.1.1.1", "", ""},
	} {
		f := conntrack.Flow{Dst: netip.MustParseAddr(c.dst)}
		if f.To = f.Dst; c.to != "" {
			f.To = netip.MustParseAddr(c.to)
		}
		got := ""
		if r := w.route(f); r != nil {
			got = r.route.Name
		}
		if got != c.want {
			t.Errorf("a flow to %s (%s) is reset for %q, want %q", c.dst, c.to, got, c.want)
		}
	}
}

// What has joined is handed out once, and all of it again after a loss.
func TestEvictPending(t *testing.T) {
	f := newFake()
	c := f.controller(t, "routes:\n  vpn: {interface: tun0, on_down: wan}\n  office: {interface: tun1}\n")
	if err := c.Require(t.Context()); err != nil { // both are up
		t.Fatal(err)
	}
	e := newEvictor(c)
	cfg := &gateway.Config{Mask: gateway.DefaultMask, Routes: []gateway.Route{{Name: "vpn", Evict: true}, {Name: "office"}}}
	s := firewall.Spec{Config: cfg, Prefixes: map[string][]netip.Prefix{"vpn": {netip.MustParsePrefix("9.0.0.0/8")}}}
	want := func(when string, want int) {
		t.Helper()
		if got := len(e.pending(time.Time{}).routes); got != want {
			t.Errorf("%s: %d routes to look at, want %d", when, got, want)
		}
	}
	a := []netip.Addr{netip.MustParseAddr("8.8.8.8")}
	e.onLearn("vpn", a)
	want("before a table is in force", 0)
	e.onApply(s, destinationsOf(s))
	want("at the start", 1)
	e.onApply(s, destinationsOf(s))
	want("applied twice", 0)
	e.onLearn("office", a)
	want("a route that leaves flows where they are", 0)
	e.onLearn("vpn", a)
	want("an address", 1)
	want("an address that was looked at", 0)
	s.Prefixes = map[string][]netip.Prefix{"vpn": {netip.MustParsePrefix("9.0.0.0/7")}}
	e.onApply(s, destinationsOf(s))
	want("a prefix", 1)
	e.onGap()
	want("a gap", 1)
	s.Prefixes["office"] = []netip.Prefix{netip.MustParsePrefix("11.0.0.0/8")}
	e.onApply(s, destinationsOf(s))
	want("a prefix of a route that leaves flows where they are", 0)
	e.onGap()
	want("a gap", 2)
	e.onError(eviction{})
	want("an eviction that failed", 1)
	e.onError(eviction{gap: true})
	want("one after a gap that failed", 2)
	f.routes["vpn"] = policy.RouteState{}
	if err := c.Require(t.Context()); err != nil { // vpn is down
		t.Fatal(err)
	}
	e.onLearn("vpn", a)
	want("while new flows take the WAN", 0)
}

// Answers do not wait while all that a route has learned is read, and what they bring
// meanwhile joins, too.
func TestEvictReadsWithoutLock(t *testing.T) {
	f := newFake()
	c := f.controller(t, "routes:\n  vpn: {interface: tun0, evict: true}\n")
	e := c.evict
	spec := firewall.Spec{Config: c.Config()}
	read := 0
	f.learned = func(ref nft.SetRef) []nft.Element {
		read++
		e.onLearn("vpn", []netip.Addr{netip.MustParseAddr("8.8.8.8")})
		if ref.Name == "vpn4" {
			return []nft.Element{{Addr: netip.MustParseAddr("9.9.9.9")}}
		}
		return nil
	}
	e.onApply(spec, destinationsOf(spec))
	for i, begin := range []func(){func() {}, e.onGap} {
		begin()
		w := e.pending(time.Time{})
		if len(w.routes) != 1 || len(w.routes[0].learned) != 2 {
			t.Errorf("%d: pending: %+v", i, w)
		}
		if read != 2*(i+1) {
			t.Errorf("%d: %d sets read", i, read)
		}
	}
}

// A dump of a changing table misses flows: what has joined is looked at once more within a
// second, by an address and by a prefix, and then no more.
func TestEvictMissed(t *testing.T) {
	for name, to := range map[string]string{"an address": "8.8.8.8", "a prefix": "9.9.9.9"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				c := f.controller(t, "routes:\n  vpn: {interface: tun0, evict: true}\n")
				if err := c.Require(t.Context()); err != nil {
					t.Fatal(err)
				}
				spec := firewall.Spec{Config: c.Config()}
				c.evict.onApply(spec, destinationsOf(spec))
				ctx, cancel := context.WithCancel(t.Context())
				go c.evict.run(ctx)
				wait := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
				wait(10 * time.Second)
				f.set(func() {
					dst := netip.MustParseAddr(to)
					f.flows, f.missed = []conntrack.Flow{{Dst: dst, To: dst}}, true
				})
				c.evict.onLearn("vpn", []netip.Addr{netip.MustParseAddr("8.8.8.8")})
				spec.Prefixes = map[string][]netip.Prefix{"vpn": {netip.MustParsePrefix("9.0.0.0/8")}}
				c.evict.onApply(spec, destinationsOf(spec))
				flows := func() (n int) {
					f.set(func() { n = len(f.flows) })
					return n
				}
				wait(evictAgain / 2) // one walk, or two
				if flows() != 1 {
					t.Fatal("the first walk saw the flow")
				}
				f.set(func() { f.missed = false })
				wait(time.Second)
				if flows() != 0 || c.evict.recheckDue() != nil {
					t.Errorf("a second later: %d flows, a walk due: %t", flows(), c.evict.recheckDue() != nil)
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

// However much joins, connections are looked at once more every 300 ms at most, and each
// address at least 300 ms after it joined.
func TestEvictAgain(t *testing.T) {
	f := newFake()
	c := f.controller(t, "routes:\n  vpn: {interface: tun0, evict: true}\n")
	spec := firewall.Spec{Config: c.Config()}
	c.evict.onApply(spec, destinationsOf(spec))
	joined, again := map[netip.Addr]time.Time{}, map[netip.Addr]time.Duration{}
	began, walks := time.Now(), 0
	for now := began; now.Before(began.Add(4 * time.Second)); now = now.Add(50 * time.Millisecond) {
		rechecked := !c.evict.again.at.IsZero() && !now.Before(c.evict.again.at)
		a := netip.AddrFrom4([4]byte{8, 8, 8, byte(len(joined))})
		if now.Before(began.Add(3 * time.Second)) {
			c.evict.onLearn("vpn", []netip.Addr{a})
			joined[a] = now
		}
		w := c.evict.pending(now)
		if rechecked {
			walks++
			for old := range w.routes[0].learned {
				again[old] = now.Sub(joined[old])
			}
		}
	}
	if limit := 12; walks > limit || c.evict.recheckDue() != nil {
		t.Errorf("%d walks more, want at most %d; one is due: %t", walks, limit, c.evict.recheckDue() != nil)
	}
	for a := range joined {
		if d := again[a]; d < evictAgain || d > 2*evictAgain+50*time.Millisecond {
			t.Errorf("%s was looked at once more after %v", a, d)
		}
	}
}

// While connections cannot be read that is logged once, and once that they can be again.
func TestEvictFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.controller(t, "routes:\n  vpn: {interface: tun0, evict: true}\n")
		if err := c.Require(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.set(func() { f.flowsErr = errors.New("no connections") })
		spec := firewall.Spec{Config: c.Config()}
		spec.Prefixes = map[string][]netip.Prefix{"vpn": {netip.MustParsePrefix("9.0.0.0/8")}}
		c.evict.onApply(spec, destinationsOf(spec))
		ctx, cancel := context.WithCancel(t.Context())
		go c.evict.run(ctx)
		time.Sleep(time.Minute)
		f.set(func() { f.flowsErr = nil })
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
		for _, line := range []string{"are not reset yet", "are reset again"} {
			if n := f.log.count(line); n != 1 {
				t.Errorf("%q is logged %d times", line, n)
			}
		}
	})
}
