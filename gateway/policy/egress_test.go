package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

func TestInterfaceAndNextHop(t *testing.T) {
	public := []string{"203.0.113.7", "2001:db8:ffff::7"}
	for _, c := range []struct {
		name, set string
		route     gateway.Route
		want      string // interface that both families leave by
		waiting   string
	}{
		{"point-to-point", "", byInterface("vpn", "wg0"), "wg0", ""},
		{"not there", "", byInterface("vpn", "ppp7"), "", "interface ppp7: does not exist"},
		{"down", "ip link set wg0 down", byInterface("vpn", "wg0"), "", "interface wg0: down"},
		{"no address", "ip addr flush dev wg0", byInterface("vpn", "wg0"), "", "interface wg0: no address"},
		{"broadcast without a default", "", byInterface("vpn", "lan0"), "",
			"interface lan0: table main has no default route via it, and it is not point-to-point: set next_hop"},
		{"broadcast with a default",
			"ip route add default via 192.168.1.9 dev lan0 metric 700; ip -6 route add default via fd00:1::9 dev lan0 metric 7000",
			byInterface("vpn", "lan0"), "lan0", ""},
		{"no carrier",
			"ip route add default via 192.168.1.9 dev lan0 metric 700; ip -6 route add default via fd00:1::9 dev lan0 metric 7000; ip link set pc0 down",
			byInterface("vpn", "lan0"), "", "interface lan0: no carrier"},
		{"next hop", "", byNextHop("vpn", "", "192.168.1.9", "fd00:1::9"), "lan0", ""},
		{"next hop on its link", "", byNextHop("vpn", "lan0", "192.168.1.9", "fe80::9"), "lan0", ""},
		{"next hop on another link", "", byNextHop("vpn", "wan0", "192.168.1.9", "fd00:1::9"), "",
			"next hop 192.168.1.9, fd00:1::9: not directly connected"},
		{"next hop behind a gateway", "", byNextHop("vpn", "", "203.0.113.9"), "",
			"next hop 203.0.113.9: not directly connected"},
		{"next hop that is ourselves", "", byNextHop("vpn", "", "192.168.1.1"), "",
			"next hop 192.168.1.1: not directly connected"},
		{"next hop on a link that is not there", "", byNextHop("vpn", "eth7", "192.168.1.9"), "",
			"next hop 192.168.1.9: not directly connected"},
		{"next hop behind a blackhole", "ip route add blackhole 203.0.113.8/29", byNextHop("vpn", "", "203.0.113.9"), "",
			"next hop 203.0.113.9: not directly connected"},
		{"next hop, its link down", "ip link set lan0 down", byNextHop("vpn", "lan0", "192.168.1.9"), "",
			"next hop 192.168.1.9: not directly connected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := lab(t)
			if c.set != "" {
				run(t, c.set)
			}
			if strings.Contains(c.name, "carrier") {
				soon(t, "carrier lost", func() bool { return strings.Contains(run(t, "ip link show lan0"), "NO-CARRIER") })
			}
			cfg := config(c.route)
			now := read(t, k, cfg)
			want := Desired(cfg, now.Inputs)
			if got := want.Waiting["vpn"]; got != c.waiting {
				t.Errorf("waiting %q, want %q", got, c.waiting)
			}
			if _, err := k.Apply(now.State, want); err != nil {
				t.Fatal(err)
			}
			if again := apply(t, k, cfg); len(again) > 0 {
				t.Errorf("a second apply changed: %q", again)
			}
			link := c.want
			if link == "" {
				link = "no route to host"
			}
			wantEgress(t, cfg.Routes[0].Mark, link, public...)
			wantEgress(t, cfg.WANRoute().Mark, "wan0", public...)
		})
	}
}

// A tunnel carries the families that its file says, where it says any.
func TestFamilies(t *testing.T) {
	cfg := config(wireguard("vpn", "wg0"))
	links := []Link{{Name: "wg0", Index: 3, Up: true, Direct: true, V4: true, V6: true}}
	for _, c := range []struct {
		families map[string][]gateway.Family
		want     []gateway.Family
	}{
		{nil, []gateway.Family{gateway.V4, gateway.V6}},
		{map[string][]gateway.Family{"vpn": {gateway.V4}}, []gateway.Family{gateway.V4}},
		{map[string][]gateway.Family{"vpn": {gateway.V6}}, []gateway.Family{gateway.V6}},
		{map[string][]gateway.Family{"vpn": {}}, nil},
	} {
		var got []gateway.Family
		for _, r := range Desired(cfg, Inputs{Links: links, Families: c.families}).KernelRoutes {
			if r.Table == cfg.Routes[0].Table && !r.Unreachable {
				got = append(got, r.Family)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("families %v: defaults of %v, want %v", c.families, got, c.want)
		}
	}
}

// Without any interface there are policy rules and unreachable defaults, and nothing else.
func TestDesiredWithoutAnything(t *testing.T) {
	cfg := config(wireguard("vpn", "wg0"), byNextHop("lab", "", "192.0.2.9"))
	s := Desired(cfg, Inputs{})
	for _, r := range s.KernelRoutes {
		if !r.Unreachable {
			t.Errorf("wanted: %s", r.text())
		}
	}
	if len(s.Rules) != 2*6 || len(s.KernelRoutes) != 2*3 || len(s.Sysctls) != 0 {
		t.Errorf("wanted:\n%s", s)
	}
	if len(s.Waiting) != 3 {
		t.Errorf("waiting: %v", s.Waiting)
	}
}

// Of a route whose probes fail only what these ask is left, with the hop that its defaults had:
// it is down, and can come back.
func TestFailingProbes(t *testing.T) {
	asked := []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8:ffff::7"), netip.MustParseAddr("192.168.1.1")}
	for _, route := range []gateway.Route{byInterface("vpn", "wg0"), byNextHop("vpn", "", "192.168.1.9", "fd00:1::9")} {
		t.Run(string(route.Egress.Kind), func(t *testing.T) {
			k := lab(t)
			cfg := config(route)
			apply(t, k, cfg)
			link := map[gateway.EgressKind]string{gateway.EgressInterface: "wg0", gateway.EgressNextHop: "lan0"}[route.Egress.Kind]
			mark := cfg.Routes[0].Mark
			wantEgress(t, mark, link, "203.0.113.8", "2001:db8:ffff::8")

			failing := func() (changes []string) {
				t.Helper()
				now := read(t, k, cfg)
				now.Inputs.Failing = map[string]Failing{"vpn": {Reason: "no answer", Targets: asked}}
				want := Desired(cfg, now.Inputs)
				if want.Waiting["vpn"] != "no answer" {
					t.Errorf("waiting: %q", want.Waiting["vpn"])
				}
				changes, err := k.Apply(now.State, want)
				if err != nil {
					t.Fatal(err)
				}
				return changes
			}
			failing()
			if again := failing(); len(again) > 0 {
				t.Errorf("a second apply changed: %q", again)
			}
			wantEgress(t, mark, link, "203.0.113.7", "2001:db8:ffff::7")
			wantEgress(t, mark, "no route to host", "203.0.113.8", "2001:db8:ffff::8")
			states, err := Routes(cfg)
			if s := states["vpn"]; err != nil || s.Up() || !slices.Equal(s.Links, []string{link}) {
				t.Errorf("%+v %v", s, err)
			}
			apply(t, k, cfg)
			wantEgress(t, mark, link, "203.0.113.8", "2001:db8:ffff::8")
			if s := read(t, k, cfg).State.String(); strings.Contains(s, "203.0.113.7") {
				t.Errorf("left behind:\n%s", s)
			}
		})
	}
}

// What only silent peers of a tunnel take is refused, and nothing else.
func TestSilentPeers(t *testing.T) {
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, s := range texts {
			all = append(all, netip.MustParsePrefix(s))
		}
		return all
	}
	k := lab(t)
	cfg := config(wireguard("vpn", "wg0"))
	for _, silent := range [][]netip.Prefix{
		prefixes("203.0.113.0/28", "2001:db8:ffff::/64"), prefixes("0.0.0.0/0", "::/0"), nil,
	} {
		for again := range 2 {
			now := read(t, k, cfg)
			now.Inputs.Silent = map[string][]netip.Prefix{"vpn": silent}
			changes, err := k.Apply(now.State, Desired(cfg, now.Inputs))
			if err != nil || again > 0 && len(changes) > 0 {
				t.Errorf("%v, applied again: %q %v", silent, changes, err)
			}
		}
		in := "no route to host"
		if silent == nil {
			in = "wg0"
		}
		wantEgress(t, cfg.Routes[0].Mark, in, "203.0.113.7", "2001:db8:ffff::7")
		if len(silent) == 0 || silent[0].Bits() > 0 {
			wantEgress(t, cfg.Routes[0].Mark, "wg0", "203.0.113.17", "2001:db8:fffe::7")
		}
		states, err := Routes(cfg)
		if s := states["vpn"]; err != nil || !s.Up() || len(s.Silent) != 0 && silent == nil || len(s.Silent) == 0 && silent != nil {
			t.Errorf("%v: %+v %v", silent, s, err)
		}
	}
}

// The hosts on a member's own link need no gateway, of its routing table and of its group's.
func TestGroupThrowsNetworksOfMembers(t *testing.T) {
	k := lab(t)
	run(t, "ip route add default via 192.168.1.9 dev lan0 metric 700; ip -6 route add default via fd00:1::9 dev lan0 metric 7000")
	group := gateway.Route{
		Name: "vpn", Egress: gateway.Egress{Kind: gateway.EgressGroup},
		Group: &gateway.Group{Members: []gateway.Member{{Route: "tun"}, {Route: "lan"}}},
	}
	cfg := config(wireguard("tun", "wg0"), byInterface("lan", "lan0"), group)
	cfg.LAN = nil
	want := Desired(cfg, read(t, k, cfg).Inputs)
	for _, r := range cfg.Routes {
		thrown := map[string]bool{}
		for _, k := range want.KernelRoutes {
			thrown[k.Dst.String()] = thrown[k.Dst.String()] || k.Throw && k.Table == r.Table
		}
		for _, network := range []string{"192.168.1.0/24", "fd00:1::/64"} {
			if got := thrown[network]; got != (r.Name != "tun") {
				t.Errorf("table of %s throws %s: %v", r.Name, network, got)
			}
		}
	}
}
