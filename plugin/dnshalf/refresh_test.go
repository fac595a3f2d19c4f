package dnshalf

import (
	"sync/atomic"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/policy"
)

// Without a default in its table a route is down, but not the WAN.
func TestPublish(t *testing.T) {
	cfg, err := config.Parse("gateway.yaml", []byte("routes:\n  vpn:\n    interface: tun0\n"))
	if err != nil {
		t.Fatal(err)
	}
	h := &Half{cells: map[string]*atomic.Pointer[Status]{}}
	h.config.Store(cfg)
	for _, c := range []struct {
		route string
		seen  policy.RouteState
		down  bool
	}{
		{"vpn", policy.RouteState{}, true},
		{"vpn", policy.RouteState{Default4: true}, false},
		{"vpn", policy.RouteState{Default6: true}, false},
		{"vpn", policy.RouteState{}, true},
		{gateway.WAN, policy.RouteState{}, false},
		{gateway.WAN, policy.RouteState{Default6: true}, false},
	} {
		r, _ := cfg.Route(c.route)
		if st := h.publish(r, nil, c.seen, cfg, nil); st.Down != c.down || h.cell(c.route).Load() != st {
			t.Errorf("%s with %+v: down %v, want %v", c.route, c.seen, st.Down, c.down)
		}
	}
}

// A route comes up one default at a time; only one that stays without IPv6 has none.
func TestIPv6ComesLater(t *testing.T) {
	cfg, err := config.Parse("gateway.yaml", []byte("routes:\n  vpn:\n    interface: tun0\n"))
	if err != nil {
		t.Fatal(err)
	}
	h := &Half{cells: map[string]*atomic.Pointer[Status]{}}
	h.config.Store(cfg)
	r, _ := cfg.Route("vpn")
	publish := func(seen policy.RouteState) *Status { return h.publish(r, nil, seen, cfg, nil) }
	publish(policy.RouteState{})
	if st := publish(policy.RouteState{Default4: true}); !st.V6 {
		t.Error("without IPv6 in the moment in which it comes up")
	}
	if st := publish(policy.RouteState{Default4: true, Default6: true}); !st.V6 || !st.noV6.IsZero() {
		t.Error("the default is not seen")
	}
	st := publish(policy.RouteState{Default4: true})
	st.noV6 = st.noV6.Add(-familyLag)
	if st := publish(policy.RouteState{Default4: true}); st.V6 {
		t.Error("IPv6 is believed for ever")
	}
	if st := publish(policy.RouteState{Default4: true}); st.V6 {
		t.Error("IPv6 comes back without a default")
	}
}
