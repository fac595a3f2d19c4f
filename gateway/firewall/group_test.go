package firewall

import (
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// group is a spec with a group of two tunnels.
func group(inForce InForce) Spec {
	nl, de, vpn := route("nl", 1), route("de", 2), route("vpn", 3)
	vpn.Group = &gateway.Group{Members: []gateway.Member{{Route: "nl", Weight: 3}, {Route: "de", Weight: 1}}}
	return Spec{
		Config: config(nl, de, vpn), InForce: map[string]InForce{"vpn": inForce},
		Egress: map[string]Egress{
			"nl": {Links: []string{"wg0"}, Inbound: true, Source: Source{SNAT4: addr("10.2.0.2")}}, "de": {Links: []string{"wg1"}, Inbound: true, Source: Source{SNAT4: addr("10.3.0.2")}},
			"vpn": {Links: []string{"wg0", "wg1"}},
		},
	}
}

func chainOf(table *nft.Table, name string) string {
	var lines []string
	for _, c := range table.Chains {
		if c.Name == name {
			for _, r := range c.Rules {
				lines = append(lines, r.String())
			}
		}
	}
	return strings.Join(lines, "\n")
}

// New flows of a group get the mark and label of a member in force, and the group's label;
// its sockets may leave by all members.
func TestGroup(t *testing.T) {
	members := group(nil).Config.Routes[2].Group.Members
	for _, c := range []struct {
		name    string
		inForce InForce
		want    string
	}{
		{"one", InForce{gateway.V4: members[1:], gateway.V6: members[1:]}, `meta nfproto ipv4 meta mark set meta mark & 0x82ffffff | 0x02000000 ct mark set ct mark & 0x82ffffff | 0x02000000 ct label set 2 ct label set 3 accept comment "vpn: by de"
meta nfproto ipv6 meta mark set meta mark & 0x82ffffff | 0x02000000 ct mark set ct mark & 0x82ffffff | 0x02000000 ct label set 2 ct label set 3 accept comment "vpn: by de"`},
		{"balance, and none of IPv6", InForce{gateway.V4: members}, `meta nfproto ipv4 numgen random mod 4 < 3 meta mark set meta mark & 0x81ffffff | 0x01000000 ct mark set ct mark & 0x81ffffff | 0x01000000 ct label set 1 ct label set 3 accept comment "vpn: by nl"
meta nfproto ipv4 meta mark set meta mark & 0x82ffffff | 0x02000000 ct mark set ct mark & 0x82ffffff | 0x02000000 ct label set 2 ct label set 3 accept comment "vpn: by de"
meta nfproto ipv6 meta mark set meta mark & 0x81ffffff | 0x01000000 ct mark set ct mark & 0x81ffffff | 0x01000000 ct label set 1 ct label set 3 accept comment "vpn: by nl"`},
	} {
		table := Desired(group(c.inForce))
		if got := chainOf(table, "choose_vpn"); got != c.want {
			t.Errorf("%s:\n%s", c.name, got)
		}
		classify := chainOf(table, chainClassify)
		if n := strings.Count(classify, `goto choose_vpn comment "vpn"`); n != 4 {
			t.Errorf("%s: %d sets of the group are asked:\n%s", c.name, n, classify)
		}
		if member, both := strings.Index(classify, "ct label 2"), strings.Index(classify, "ct label 3"); member < 0 || both < member {
			t.Errorf("%s: the group's label comes before a member's:\n%s", c.name, classify)
		}
		if !strings.Contains(chainOf(table, chainMarked), `meta mark & 0x7f000000 == 0x03000000 oifname != "wg0" oifname != "wg1" counter packets 0 bytes 0 drop comment "vpn: kill switch"`) {
			t.Errorf("%s: kill switch of the group's sockets:\n%s", c.name, chainOf(table, chainMarked))
		}
	}
	down := group(nil)
	down.Config.Routes[2].OnDown = gateway.FallBack
	down.Egress["vpn"] = Egress{Links: []string{"wg0", "wg1"}, Down: true}
	if classify := chainOf(Desired(down), chainClassify); strings.Contains(classify, "choose_vpn") || !strings.Contains(classify, "vpn: down, via wan") {
		t.Errorf("down with on_down: wan:\n%s", classify)
	}
}
