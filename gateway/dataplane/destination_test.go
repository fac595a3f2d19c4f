package dataplane

import (
	"net/netip"
	"testing"
	"time"
)

// An address belongs to the first route in gateway.yaml that has it, as its packets do.
func TestTakes(t *testing.T) {
	b := newLab(t)
	b.start()
	routes := b.c.Config().Routes
	first, second := routes[0].Name, routes[1].Name
	b.learn(second, "work.example.", time.Hour, "8.8.8.8", "2606:4700::1")
	b.learn(second, "work.example.", time.Hour, "8.8.4.4")
	b.learn(first, "b.example.", time.Hour, "8.8.4.4")
	for a, want := range map[string]string{"8.8.8.8": second, "2606:4700::1": second, "::ffff:8.8.8.8": second, "8.8.4.4": first, "9.9.9.9": "", "192.168.1.1": "", "127.0.0.1": "", "fe80::1": ""} {
		for _, r := range []string{first, second, "wan", "none"} {
			if got := b.c.Route(r).Takes(netip.MustParseAddr(a)); got != (r == want) {
				t.Errorf("%s by %s: %v, want that it takes %q", a, r, got, want)
			}
		}
	}
}
