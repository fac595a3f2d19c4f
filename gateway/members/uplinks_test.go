package members

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// The WAN's table has the members in force, and behind them those that work; what the box sends
// by itself takes only the former, or the link that its socket is bound to. A restart finds what
// is in force.
func TestUplinks(t *testing.T) {
	cfg := &gateway.Config{
		Mask: gateway.DefaultMask, Priority: gateway.DefaultPriority,
		WANGroup:   &gateway.Group{Members: []gateway.Member{{Route: "wan0", Weight: 1}, {Route: "wan1", Weight: 1}}},
		WANUplinks: []gateway.Uplink{{Link: "wan0"}, {Link: "wan1", NextHops: []netip.Addr{netip.MustParseAddr("198.51.100.1")}}},
	}
	in := policy.Inputs{
		Links: []policy.Link{{Name: "wan0", Index: 2, Up: true, Running: true, V4: true}, {Name: "wan1", Index: 3, Up: true, Running: true, V4: true}},
		Defaults: []policy.KernelRoute{{
			Family: gateway.V4, Metric: 600, Hops: []policy.Hop{{Via: netip.MustParseAddr("192.0.2.1"), Link: "wan0", Index: 2, Weight: 1}},
		}},
		NextHops:       map[netip.Addr]string{netip.MustParseAddr("198.51.100.1"): "wan1"},
		KernelFamilies: []gateway.Family{gateway.V4},
	}
	wan, s := cfg.WANRoute(), policy.Desired(cfg, in)
	if s.Waiting[gateway.WAN] == "" {
		t.Error("the WAN has a default before a member is chosen")
	}
	Add(&s, cfg, wan, []string{"wan1"})
	AddStandby(&s, cfg, []string{"wan0"})
	AddOwn(&s, cfg, []string{"wan1"})
	text := s.String()
	for _, line := range []string{
		"7328:\tfrom all iif lo fwmark 0/0x7f000000 lookup main suppress_prefixlength 1 proto 110",
		"7329:\tfrom all iif lo fwmark 0/0x7f000000 lookup 7200 proto 110",
		"# ip -4 route show table 7200\ndefault via 198.51.100.1 dev wan1 proto 110 metric 100\n",
		"# ip -4 route show table 7327\ndefault via 198.51.100.1 dev wan1 proto 110 metric 100\ndefault via 192.0.2.1 dev wan0 proto 110 metric 1000\nunreachable default proto 110 metric 4294967295\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	for _, m := range cfg.Members(wan) {
		if rule := fmt.Sprintf("7329:\tfrom all iif lo oif %s fwmark 0/0x7f000000 lookup %d proto 110", m.Name, m.Table); !strings.Contains(text, rule) {
			t.Errorf("no %q in\n%s", rule, text)
		}
	}
	if left := Left(cfg, wan, s); !slices.Equal(left, []string{"wan1"}) {
		t.Errorf("left in force: %q", left)
	}
	var defaults []policy.KernelRoute
	for _, k := range s.KernelRoutes {
		if k.Table == wan.Table && len(k.Hops) > 0 {
			defaults = append(defaults, k)
		}
	}
	if working := Working(cfg, wan, defaults)[gateway.V4]; len(working) != 2 {
		t.Errorf("working: %v", working)
	}
}
