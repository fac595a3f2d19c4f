package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway"
)

// Several interfaces of the WAN are a group with defaults, and YAML prints what Parse reads again.
func TestWAN(t *testing.T) {
	probing := gateway.Probing{Probes: []gateway.Probe{{Kind: gateway.ProbeDNS, Name: "."}}, Every: time.Second, Fails: 3, Good: 5}
	two := []gateway.Member{{Route: "wan0", Weight: 1}, {Route: "wan1", Weight: 1}}
	for text, want := range map[string]*gateway.Group{
		"auto":   nil,
		"wan0":   nil,
		"[wan0]": nil,
		"[wan0, wan1]": {
			Members: two, Policy: gateway.Failover, Probing: probing, Hold: time.Minute, Move: gateway.MoveCut,
		},
		"{egress: {wan0: 3, wan1: {weight: 2, next_hop: [192.0.2.1, '2001:db8::1'], source: 2001:db8:1::/48}}, policy: balance, snat: off}": {
			Members: []gateway.Member{{Route: "wan0", Weight: 3}, {Route: "wan1", Weight: 2}}, Policy: gateway.Balance,
			Probing: probing, Hold: time.Minute, Move: gateway.MoveCut,
		},
		"{egress: {wan0: , wan1: {next_hop: 192.0.2.1}}, probe: tcp 192.0.2.1:53, every: 2s, fails: 2, good: 4, hold: 10s, move: keep}": {
			Members: two, Policy: gateway.Failover, Hold: 10 * time.Second, Move: gateway.MoveKeep,
			Probing: gateway.Probing{Probes: []gateway.Probe{{Kind: gateway.ProbeTCP, Addr: netip.MustParseAddr("192.0.2.1"), Port: 53}}, Every: 2 * time.Second, Fails: 2, Good: 4},
		},
	} {
		cfg, err := Parse("gateway.yaml", []byte("wan: "+text+"\n"+twoTunnels))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if d := cmp.Diff(want, cfg.WANGroup, equal); d != "" {
			t.Errorf("%s (-want +got):\n%s", text, d)
		}
		members := cfg.Members(cfg.WANRoute())
		if want != nil && (len(members) != 2 || members[0].Egress.Link != "wan0" || members[0].Number == members[1].Number) {
			t.Errorf("%s: members %+v", text, members)
		}
		again, err := Parse("/gateway.yaml", []byte(YAML(cfg)))
		if err != nil {
			t.Errorf("%s: %v\n%s", text, err, YAML(cfg))
			continue
		}
		if d := cmp.Diff(cfg.WANUplinks, again.WANUplinks, equal); d != "" || cmp.Diff(cfg.WANGroup, again.WANGroup, equal) != "" || cfg.WANNoSNAT != again.WANNoSNAT || cfg.WANLink != again.WANLink {
			t.Errorf("%s: read again: %s\n%s", text, d, YAML(cfg))
		}
	}
}

// Each contradiction is an error at its place.
func TestWANProblems(t *testing.T) {
	for text, want := range map[string]string{
		"[wan0, wan0]":                 "gateway.yaml:1:13: wan: wan0: is a member already: want it once",
		"[]":                           "gateway.yaml:1:6: wan: is empty: want names of interfaces, such as [wan0, wan1], or with weights {wan0: 3, wan1: 1}",
		"[wan0, br-lan]":               "gateway.yaml:1:13: wan: br-lan: is also in lan",
		"[wan0, tun0]":                 "gateway.yaml:1:13: wan: tun0: is also the interface of route tun on line 6: want it in one place; names for the WAN need no route",
		"[wan0, nl]":                   "gateway.yaml:1:13: wan: nl: is also the interface of route nl on line 4: want it in one place; names for the WAN need no route",
		"[wan0, tun]":                  "gateway.yaml:1:13: wan: tun: is also the name of route tun on line 6: want another name for the route",
		"[wan0, lo]":                   "gateway.yaml:1:13: wan: lo: is the loopback interface",
		"[wan0, 'a b']":                "gateway.yaml:1:13: wan: \"a b\": ",
		"{policy: balance}":            "gateway.yaml:1:6: wan: has no egress: want egress: [wan0, wan1]",
		"{egress: [wan0]}":             "gateway.yaml:1:15: wan.egress: wan0: is the only interface: there is nothing to move to: want another one, or wan: wan0",
		"{egress: {wan0: 1, wan1: 3}}": "gateway.yaml:1:15: wan.egress: has weights, which only policy: balance uses: want names alone, or policy: balance",
		"{egress: {wan0: 0, wan1: }}":  "gateway.yaml:1:22: wan.egress.wan0: 0: ",
		"{egress: [wan0, wan1], probe: handshake}":                                   "gateway.yaml:1:36: wan.probe: handshake: only valid with wireguard: want ping, tcp, http or dns",
		"{egress: {wan0: {weigt: 1}, wan1: }}":                                       "gateway.yaml:1:23: wan.egress.wan0.weigt: unknown key: did you mean weight?",
		"{egress: {wan0: {source: 10.0.0.0/8}, wan1: }}":                             "gateway.yaml:1:31: wan.egress.wan0.source: 10.0.0.0/8: is IPv4, which is translated: want prefixes of IPv6 that this provider has given, such as 2001:db8:1::/48",
		"{egress: [wan0, wan1], snat: masquerade}":                                   "gateway.yaml:1:35: wan.snat: masquerade: unknown value: want auto or off",
		"{egress: {wan0: {next_hop: 192.0.2.1}, wan1: {next_hop: '2001:db8::1'}}}":   "gateway.yaml:1:45: wan.egress: wan1: has a next hop of IPv6, wan0 of IPv4: what has only one of them would stop when the WAN moves: want the same families, or no next_hop: to follow table main",
		"{egress: {wan0: {source: 2001:db8::/32}, wan1: {source: 2001:db8:1::/48}}}": "gateway.yaml:1:47: wan.egress: 2001:db8:1::/48: is also a source of wan0: want each prefix at the provider that gave it",
	} {
		_, err := Parse("gateway.yaml", []byte("wan: "+text+"\nlan: [br-lan]\n"+twoTunnels))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant\n%s", text, err, want)
		}
	}
}
