package firewall_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/learned"
)

// Packets of a class are judged by its own match where nothing else is known of them: another
// program has them untracked, and overwrites their mark after us. Those of other clients to the
// same address are not the route's.
func TestPacketsOfClassesOverwritten(t *testing.T) {
	lab(t)
	mac, err := net.ParseMAC(strings.TrimSpace(sh(t, "ip netns exec client cat /sys/class/net/eth0/address")))
	if err != nil {
		t.Fatal(err)
	}
	k := open(t, learned.Options{})
	sh(t, `nft -f - <<'END'
table inet theirs {
	chain first { type filter hook prerouting priority -300; iifname "br-lan" notrack; }
	chain last { type filter hook prerouting priority 2147483647; meta mark set 0; }
	chain forward { type filter hook forward priority 0; meta mark set 0; }
}
END
ip netns exec isp nft -f - <<'END'
table inet seen { chain c { type filter hook prerouting priority -300; ip saddr 192.168.1.10 counter; ip6 saddr fd00:1::10 counter; }; }
END`)
	for name, class := range map[string]gateway.Clients{
		"prefix":           {Prefixes: prefixes("192.168.1.10/32", "fd00:1::10/128")},
		"mac":              {MACs: []gateway.MAC{gateway.MAC(mac)}},
		"interface":        {Links: []string{"br-lan"}},
		"all by the route": {Prefixes: prefixes("192.168.1.10/32", "fd00:1::10/128"), Route: "vpn"},
	} {
		t.Run(name, func(t *testing.T) {
			spec, r := labSpec(), route("vpn", 1)
			class.Name, r.Clients = "tv", []string{"tv"}
			spec.Config = config(r)
			spec.Config.Clients = []gateway.Clients{class}
			applyTwice(t, k, spec)
			for _, f := range families {
				learn(t, k, vpn, time.Hour, f.listed)
				if got := whoWithin(t, moment, "client", "udp", f.listed); got != "" {
					t.Errorf("%s: answered by %s", f.listed, got)
				}
				if f.name == "IPv4" {
					expect(t, "guest", f.listed, "isp 192.168.2.10")
				}
			}
			if seen := sh(t, "ip netns exec isp nft list table inet seen"); strings.Count(seen, "packets 0 ") != 2 {
				t.Errorf("left by the WAN:\n%s", seen)
			}
		})
	}
}
