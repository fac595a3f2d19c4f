package dataplane

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway/conntrack"
)

// An element lives for as long as a flow of its route to it, seen or not, and the time it
// was given after that; others end when their answers do.
func TestProlongUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.controller(t, "routes:\n  vpn: {interface: tun0}\n")
		if err := c.Require(t.Context(), Requirements{Uses: []Use{{Route: "vpn", Learns: true}}}); err != nil {
			t.Fatal(err)
		}
		used, idle := netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("8.8.4.4")
		f.set(func() {
			f.flows = []conntrack.Flow{{Dst: used}}
			f.elements[used], f.elements[idle] = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
		})
		ctx, cancel := context.WithCancel(t.Context())
		go c.prolongLoop(ctx)
		left := func(a netip.Addr) (left time.Duration) {
			f.set(func() { left = time.Until(f.elements[a]) })
			return left
		}
		for range 24 * 60 {
			time.Sleep(time.Minute)
			if left(used) < 29*time.Minute {
				t.Fatalf("an element in use has %v left", left(used))
			}
		}
		if left(idle) > 0 {
			t.Errorf("an element without a flow has %v left", left(idle))
		}
		f.set(func() { f.flows = nil })
		time.Sleep(time.Hour)
		if left(used) > 0 {
			t.Errorf("an hour after the flow, its element has %v left", left(used))
		}
		f.set(func() {
			if f.walks > 3000 {
				t.Errorf("%d walks in a day", f.walks)
			}
		})
		cancel()
		synctest.Wait()
	})
}

// In a set that is nearly full a flow keeps its element if it is answered.
func TestProlongCrowded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.controller(t, "routes:\n  vpn: {interface: tun0}\n")
		if err := c.Require(t.Context(), Requirements{Uses: []Use{{Route: "vpn", Learns: true}}}); err != nil {
			t.Fatal(err)
		}
		answered, sent := netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("8.8.4.4")
		f.set(func() {
			f.crowded, f.flows = true, []conntrack.Flow{{Dst: answered, Seen: true}, {Dst: sent}}
			f.elements[answered], f.elements[sent] = time.Now().Add(time.Minute), time.Now().Add(time.Minute)
		})
		if err := c.prolongUsed(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.set(func() {
			if got := time.Until(f.elements[answered]); got < time.Hour {
				t.Errorf("with an answered flow an element lives %v", got)
			}
			if got := time.Until(f.elements[sent]); got > time.Minute {
				t.Errorf("with a flow that is not answered an element lives %v", got)
			}
		})
	})
}
