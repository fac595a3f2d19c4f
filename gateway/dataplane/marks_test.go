package dataplane

import (
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

// Overwritten marks are logged once when they begin to block packets, with the rules that
// write them, and once when that has ended.
func TestOverwrittenMarksAreLogged(t *testing.T) {
	f := newFake()
	c := f.controller(t, "routes:\n  vpn: {interface: wg0}\n")
	c.opts.MarkWriters = func(gateway.Mask) ([]string, error) { return []string{"chain inet other p"}, nil }
	last := map[string]uint64{}
	blocked := func(n uint64) {
		f.set(func() { f.counts = firewall.Counts{Overwritten: map[string]nft.Counter{"vpn": {Packets: n}}} })
		c.reportMarks(last)
	}
	const began, ended = "another program overwrites marks", "marks are not overwritten any more"
	for _, step := range []struct {
		packets      uint64
		begun, ended int
	}{{5, 0, 0}, {5, 0, 0}, {7, 1, 0}, {9, 1, 0}, {9, 1, 1}, {0, 1, 1}, {1, 2, 1}} {
		blocked(step.packets)
		if b, e := f.log.count(began), f.log.count(ended); b != step.begun || e != step.ended {
			t.Errorf("at %d packets: %d and %d lines, want %d and %d", step.packets, b, e, step.begun, step.ended)
		}
	}
	if f.log.count("chain inet other p") != 2 {
		t.Error("the rule is not named")
	}
}
