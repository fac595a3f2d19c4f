package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway"
)

const twoTunnels = "routes:\n  nl: {wireguard: nl.conf}\n  de: {wireguard: de.conf}\n  tun: {interface: tun0}\n"

// A group has its defaults, and YAML prints what Parse reads again.
func TestGroup(t *testing.T) {
	for text, want := range map[string]gateway.Group{
		"{egress: [nl, de]}": {
			Members: []gateway.Member{{Route: "nl", Weight: 1}, {Route: "de", Weight: 1}}, Policy: gateway.Failover,
			Probing: gateway.Probing{Probes: []gateway.Probe{{Kind: gateway.ProbeHandshake}}, Every: time.Second, Fails: 3, Good: 5},
			Hold:    time.Minute, Move: gateway.MoveCut,
		},
		"{egress: {nl: 3, tun: 2}, policy: balance, every: 500ms, fails: 2, good: 4, hold: 10s, move: keep}": {
			Members: []gateway.Member{{Route: "nl", Weight: 3}, {Route: "tun", Weight: 2}}, Policy: gateway.Balance,
			Probing: gateway.Probing{Every: 500 * time.Millisecond, Fails: 2, Good: 4}, Hold: 10 * time.Second, Move: gateway.MoveKeep,
		},
	} {
		cfg, err := Parse("gateway.yaml", []byte(twoTunnels+"  vpn: "+text+"\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		r, _ := cfg.Route("vpn")
		if r.Group == nil || r.Egress.Kind != gateway.EgressGroup {
			t.Fatalf("%s: %+v", text, r)
		}
		if d := cmp.Diff(want, *r.Group, equal); d != "" {
			t.Errorf("%s (-want +got):\n%s", text, d)
		}
		if m := cfg.Members(r); len(m) != 2 || m[0].Name != "nl" {
			t.Errorf("%s: members %+v", text, m)
		}
		again, err := Parse("/gateway.yaml", []byte(YAML(cfg)))
		if err != nil {
			t.Errorf("%s: %v\n%s", text, err, YAML(cfg))
			continue
		}
		if d := cmp.Diff(cfg.Routes, again.Routes, equal); d != "" {
			t.Errorf("%s: read again (-want +got):\n%s", text, d)
		}
	}
}

// Each contradiction is an error at its place, or a note.
func TestGroupProblems(t *testing.T) {
	for text, want := range map[string]string{
		"{egress: [nl, dee]}":                            "gateway.yaml:5:22: routes.vpn.egress: dee: unknown route: did you mean de?",
		"{egress: [nl, vpn]}":                            "gateway.yaml:5:22: routes.vpn.egress: vpn: is the group itself: want another route",
		"{egress: [nl, wan]}":                            "gateway.yaml:5:22: routes.vpn.egress: wan: the WAN is no member of a group: want on_down: wan",
		"{egress: [nl, nl]}":                             "gateway.yaml:5:22: routes.vpn.egress: nl: is a member already: want it once",
		"{egress: [nl, two]}\n  two: {egress: [nl, de]}": "gateway.yaml:5:22: routes.vpn.egress: two: is a group itself: want its members",
		"{egress: []}":                                   "gateway.yaml:5:17: routes.vpn.egress: is empty: " + wantMembers,
		"{egress: [nl, de], wireguard: x.conf}":          "gateway.yaml:5:38: routes.vpn.wireguard: the route's egress is other routes: want it on them",
		"{egress: [nl, de], mtu: 1400}":                  "gateway.yaml:5:32: routes.vpn.mtu: the route's egress is other routes: want it on them",
		"{egress: {nl: 2, de: 1}}":                       "gateway.yaml:5:17: routes.vpn.egress: has weights, which only policy: balance uses: want names alone, or policy: balance",
		"{egress: {nl: 0, de: 1}, policy: balance}":      "gateway.yaml:5:22: routes.vpn.egress.nl: 0: out of range: want 1 to 100",
		"{egress: [nl, tun], probe: handshake}":          "gateway.yaml:5:22: routes.vpn.egress: tun: is no tunnel, and has no handshakes: want ping, tcp, http or dns in probe",
		"{egress: [nl, de], policy: balanced}":           "gateway.yaml:5:35: routes.vpn.policy: balanced: unknown value: did you mean balance?",
		"{interface: tun1, hold: 1m}":                    "gateway.yaml:5:32: routes.vpn.hold: only valid with egress",
	} {
		if _, err := Parse("gateway.yaml", []byte(twoTunnels+"  vpn: "+text+"\n")); err == nil || strings.TrimSpace(err.Error()) != want {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
	cfg, err := Parse("gateway.yaml", []byte(twoTunnels+"  vpn: {egress: [tun]}\n"))
	if err != nil || len(cfg.Notes) != 2 || !strings.Contains(cfg.Notes[0].Error(), "has no probes") || !strings.Contains(cfg.Notes[1].Error(), "only member") {
		t.Errorf("notes: %v, %v", cfg.Notes, err)
	}
}
