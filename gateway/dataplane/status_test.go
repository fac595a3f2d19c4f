package dataplane

import (
	"testing"
)

// A kernel without labels in conntrack is told once.
func TestNoLabels(t *testing.T) {
	f := newFake()
	c := f.controller(t, "routes:\n  vpn: {interface: tun0}\n")
	for range 2 {
		if err := c.Require(t.Context(), Requirements{Uses: []Use{{Route: "vpn"}}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.log.count("no conntrack labels in this kernel"); n != 1 {
		t.Errorf("told %d times", n)
	}
}
