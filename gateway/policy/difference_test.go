package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

// A policy rule is added when its table ends with an unreachable default, a default when
// the rules are there, and nothing is deleted before all is added.
func TestDifferenceBlocksFirst(t *testing.T) {
	links := []Link{{Name: "wg0", Index: 3, Up: true, Direct: true, V4: true, V6: true}}
	want := Desired(config(wireguard("vpn", "wg0")), Inputs{Links: links})
	have := Desired(config(wireguard("x", "none"), wireguard("y", "none"), wireguard("old", "wg0")), Inputs{Links: links})
	have.Rules = slices.DeleteFunc(have.Rules, func(r Rule) bool { return r.Table == gateway.DefaultTable+1 })
	have.KernelRoutes = slices.DeleteFunc(have.KernelRoutes, func(r KernelRoute) bool { return r.Table == gateway.DefaultTable+1 })
	kinds := []string{"unreachable default", "rule", "default", "del"}
	last, seen := 0, map[int]bool{}
	for _, c := range difference(have, want) {
		kind := slices.IndexFunc(kinds, func(k string) bool { return strings.Contains(c.text, k) })
		if strings.HasPrefix(c.text, "del ") {
			kind = len(kinds) - 1
		}
		if kind < last {
			t.Errorf("%s: after one of kind %q", c.text, kinds[last])
		}
		last, seen[kind] = kind, true
	}
	if len(seen) != len(kinds) {
		t.Errorf("not every kind of change: %v", seen)
	}
}
