package known

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

const datagram = wire.UDP | wire.EDNS | wire.Case

func TestCapabilities(t *testing.T) {
	type step struct{ used, missed wire.Features }
	for _, tc := range []struct {
		what  string
		steps []step
		lacks wire.Features
	}{
		{"nothing is known", nil, 0},
		{"all works", []step{{datagram, 0}, {datagram, 0}}, 0},
		{"EDNS was never answered", []step{{wire.UDP | wire.Case, datagram}}, wire.EDNS},
		{"EDNS works and was missed twice", []step{{datagram, 0}, {wire.UDP, datagram}, {wire.UDP, datagram}}, 0},
		{"three times in a row", []step{{datagram, 0}, {wire.UDP, wire.EDNS}, {wire.UDP, wire.EDNS}, {wire.UDP, wire.EDNS}}, wire.EDNS},
		{"not in a row", []step{{datagram, 0}, {wire.UDP, wire.EDNS}, {wire.UDP, wire.EDNS}, {datagram, 0}, {wire.UDP, wire.EDNS}}, 0},
		{"what was used is not missed", []step{{datagram, datagram}}, 0},
		{"only TCP", []step{{wire.TCP | wire.EDNS, datagram}}, wire.UDP | wire.Case},
		{"no TCP", []step{{datagram, 0}, {datagram, wire.TCP}}, wire.TCP},
		{"it works after all", []step{{wire.UDP, datagram}, {datagram, 0}}, 0},
		{"several at once", []step{{wire.UDP, wire.Case | wire.EDNS | wire.TCP}}, wire.Case | wire.EDNS | wire.TCP},
		{"no reply at all tells nothing of what was not missed", []step{{0, 0}}, 0},
	} {
		var c Capabilities
		now := time.Now()
		for _, s := range tc.steps {
			if next := c.After(s.used, s.missed, now); next != c != c.Tells(s.used, s.missed) {
				t.Errorf("%s: Tells(%s; %s) is wrong", tc.what, s.used, s.missed)
			} else {
				c = next
			}
		}
		if got := wire.EveryFeature &^ c.Usable(now); got != tc.lacks {
			t.Errorf("%s: lacks %s, want %s", tc.what, got, tc.lacks)
		}
	}
}

// What is lacking is tried again after a while, and forgotten where it works.
func TestMemoryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Capabilities{}.After(wire.UDP, wire.EDNS, time.Now())
		time.Sleep(Memory - 1)
		if c.Usable(time.Now())&wire.EDNS != 0 {
			t.Error("forgotten too soon")
		}
		time.Sleep(time.Nanosecond)
		if c.Usable(time.Now()) != wire.EveryFeature {
			t.Error("never tried again")
		}
		again := c.After(wire.UDP, wire.EDNS, time.Now())
		if again.Usable(time.Now())&wire.EDNS != 0 {
			t.Error("missed again and not remembered")
		}
		c = c.After(datagram, 0, time.Now())
		if c.Usable(time.Now()) != wire.EveryFeature || c.Lacks != 0 {
			t.Error("works, and is still believed to be lacking")
		}
	})
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 600 * time.Millisecond
		var l Latency
		patience := func(want time.Duration) {
			t.Helper()
			if got := l.Patience(limit).Round(10 * time.Millisecond); got != want {
				t.Errorf("patience %v, want %v", got, want)
			}
		}
		patience(newPatience)
		l.Add(10*time.Millisecond, time.Now())
		patience(minPatience)
		for range 100 {
			l.Add(400*time.Millisecond, time.Now())
		}
		patience(400 * time.Millisecond)
		l.Add(500*time.Millisecond, time.Now()) // it varies
		if got := l.Patience(limit); got <= 500*time.Millisecond {
			t.Errorf("patience %v after a reply that took longer", got)
		}
		if l.Slow(limit, time.Now()) {
			t.Error("slow after one slow reply of many")
		}
		time.Sleep(slowFor + 1)
		l.Add(2*time.Second, time.Now())
		patience(limit)
		if !l.Slow(limit, time.Now()) {
			t.Error("not slow")
		}
		time.Sleep(slowFor)
		if l.Slow(limit, time.Now()) {
			t.Error("never tried first again")
		}
		l.Add(10*time.Millisecond, time.Now().Add(1))
		if l.Slow(limit, time.Now()) || l.Patience(limit) != minPatience {
			t.Error("still slow")
		}
	})
}
