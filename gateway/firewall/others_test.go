package firewall_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/test/netlab"
)

// TestPacketsIptablesMarks: guarantee 4, kill switch. iptables writes whole marks and
// saves them in the ct mark, loaded before and after us.
func TestPacketsIptablesMarks(t *testing.T) {
	if os.Getenv("NAMEROUTE_VM") != "" {
		t.Skip("test/vm has no iptables")
	}
	netlab.Need(t, "iptables-nft", "ip6tables-nft")
	lab(t)
	rules := func() {
		for _, program := range []string{"iptables-nft", "ip6tables-nft"} {
			for _, chain := range []string{"PREROUTING", "FORWARD", "POSTROUTING", "OUTPUT"} {
				sh(t, "%[1]s -t mangle -A %[2]s -j MARK --set-mark 0x1; %[1]s -t mangle -A %[2]s -j CONNMARK --save-mark", program, chain)
			}
		}
	}
	rules()
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	o := newOverwriting(t, k)
	o.watch()
	o.check("loaded before us", false)
	sh(t, "nft 'delete table ip mangle; delete table ip6 mangle'")
	rules()
	o.check("loaded after us", false)
	sh(t, "nft 'delete table ip mangle; delete table ip6 mangle'")
	for _, program := range []string{"iptables-nft", "ip6tables-nft"} {
		sh(t, "%[1]s -t mangle -A PREROUTING -j CONNMARK --restore-mark; %[1]s -t mangle -A FORWARD -j CONNMARK --restore-mark", program)
	}
	o.check("restores all of the ct mark", false)
}

// TestPacketsOthersSourceNAT: guarantee 4, kill switch. The source NAT of the box's
// firewall is for the WAN; none of its addresses enters the tunnel, whatever the order.
func TestPacketsOthersSourceNAT(t *testing.T) {
	lab(t)
	load := func(table string) {
		sh(t, `nft -f - <<'END'
table inet %s {
	chain post { type nat hook postrouting priority 100
		ip saddr { 192.168.1.0/24, 10.2.0.2 } snat ip to 5.5.5.2
		ip6 saddr { fd00:1::/64, fd00:a::2 } snat ip6 to fd00:5::2
	}
	chain early { type nat hook postrouting priority -150
		ip saddr 192.168.1.0/24 snat ip to 5.5.5.2
		ip6 saddr fd00:1::/64 snat ip6 to fd00:5::2
	}
}
END`, table)
	}
	load("before")
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	load("after")
	sh(t, `ip netns exec vpn nft -f - <<'END'
table inet seen { chain c { type filter hook prerouting priority -300
	ip saddr != 10.2.0.2 meta l4proto { tcp, udp } counter
	ip6 saddr != fd00:a::2 meta l4proto { tcp, udp } counter
}
}
END`)
	old := map[string]flow{}
	for _, f := range families {
		for _, network := range []string{"udp", "tcp"} {
			c, err := connect(t, "client", network, "", f.listed)
			if err != nil || c.ask() != "isp "+f.wan {
				t.Fatalf("before it is listed: %v", err)
			}
			old[f.name+network] = c
		}
		learn(t, k, vpn, time.Hour, f.listed)
		expect(t, "client", f.listed, "vpn "+f.tunnel)
		expect(t, "", f.listed, "vpn "+f.tunnel)
		expect(t, "client", f.other, "isp "+f.wan)
	}
	// One of the same priority that is loaded later is first. What it translates is dropped.
	sh(t, `nft -f - <<'END'
table inet first {
	chain post { type nat hook postrouting priority -199
		ip saddr 192.168.1.0/24 snat ip to 5.5.5.2
		ip6 saddr fd00:1::/64 snat ip6 to fd00:5::2
	}
}
END`)
	for _, f := range families {
		expect(t, "client", f.listed, "")
		expect(t, "client", f.other, "isp "+f.wan)
	}
	// A flow that was translated for the WAN and is moved keeps that source, and ends.
	sh(t, "conntrack -U -f ipv4 -d 8.8.8.8 -m 0x01000000 >/dev/null 2>&1; conntrack -U -f ipv6 -d 2606:4700::1 -m 0x01000000 >/dev/null 2>&1")
	for who, c := range old {
		if got := c.askWithin(moment); got != "" {
			t.Errorf("%s, translated for the WAN, is answered by %q in the tunnel", who, got)
		}
	}
	if out := sh(t, "ip netns exec vpn nft list table inet seen"); strings.Count(out, "packets 0 ") != 2 {
		t.Errorf("foreign sources in the tunnel:\n%s", out)
	}
}

// TestPacketsTranslatedDestination: guarantee 4, kill switch. Where another program
// translates the destination, the packet takes the way of where it goes.
func TestPacketsTranslatedDestination(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
	sh(t, `nft -f - <<'END'
table inet theirs {
	chain pre { type nat hook prerouting priority -100
		ip daddr 9.9.9.9 dnat ip to 8.8.8.8
		ip6 daddr 2620:fe::9 dnat ip6 to 2606:4700::1
	}
	chain out { type nat hook output priority -100
		ip daddr 9.9.9.9 dnat ip to 8.8.8.8
		ip6 daddr 2620:fe::9 dnat ip6 to 2606:4700::1
	}
}
END`)
	for _, f := range families {
		for _, ns := range []string{"client", ""} {
			expect(t, ns, f.other, "vpn "+f.tunnel)
		}
	}
	sh(t, `nft 'flush table inet theirs; add rule inet theirs pre ip daddr 8.8.8.8 dnat ip to 9.9.9.9; add rule inet theirs pre ip6 daddr 2606:4700::1 dnat ip6 to 2620:fe::9'`)
	for _, f := range families {
		expect(t, "client", f.listed, "isp "+f.client)
	}
}

// TestPacketsBridged: guarantee 8, fails safe. What a bridge only forwards is not the
// gateway's, though these hooks see it (bridge-nf-call-iptables); what is routed out
// through the bridge is.
func TestPacketsBridged(t *testing.T) {
	lab(t)
	sh(t, "sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1")
	k := open(t, learned.Options{})
	s := labSpec()
	s.WANLinks = []string{"wan0", "br-lan"} // a rule for each link, this one too
	s.Config.LAN = []string{"guest0"}
	apply(t, k, s)
	s = labSpec()
	gate := map[string]string{"IPv4": "192.168.1.5", "IPv6": "fd00:1::5"}
	for _, f := range families {
		sh(t, "ip -n client route add %s via %s", f.listed, gate[f.name])
		expect(t, "client", f.listed, "vpnbox "+f.client)
		learn(t, k, vpn, time.Hour, f.listed)
		expect(t, "client", f.listed, "vpnbox "+f.client)
	}
	apply(t, k, s)
	for _, f := range families {
		expect(t, "client", f.listed, "vpnbox "+f.client)
		sh(t, `ip -n client route del %s; ip route flush table 7201; ip -6 route flush table 7201; ip route add %s via %s`, f.listed, f.listed, gate[f.name])
		for _, ns := range []string{"client", "guest", ""} {
			if got := whoWithin(t, moment, ns, "udp", f.listed); got != "" {
				t.Errorf("routed through the bridge from %q: answered by %q", ns, got)
			}
		}
	}
}

// TestPacketsUntracked: guarantee 4, kill switch. Packets that another program hides from
// conntrack and whose marks it overwrites leave neither by the WAN nor untranslated.
func TestPacketsUntracked(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	sh(t, `nft -f - <<'END'
table inet theirs {
	chain pre { type filter hook prerouting priority -300; notrack; }
	chain out { type filter hook output priority -300; notrack; }
	chain forw { type filter hook forward priority 0; meta mark set 1; }
	chain post { type filter hook postrouting priority 0; meta mark set 1; }
}
END`)
	for _, ns := range []string{"isp", "vpn"} {
		sh(t, `ip netns exec %s nft -f - <<'END'
table inet seen { chain c { type filter hook prerouting priority -300
	ip daddr 8.8.8.8 ip saddr != 10.2.0.2 counter
	ip6 daddr 2606:4700::1 ip6 saddr != fd00:a::2 counter
}
}
END`, ns)
	}
	for _, f := range families {
		expect(t, "client", f.other, "isp "+f.client)
		learn(t, k, vpn, time.Hour, f.listed)
		expect(t, "client", f.listed, "")
		expect(t, "", f.listed, "")
	}
	for _, routes := range []string{"with routes", "without routes"} {
		for _, ns := range []string{"isp", "vpn"} {
			if out := sh(t, "ip netns exec %s nft list table inet seen", ns); strings.Count(out, "packets 0 ") != 2 {
				t.Errorf("%s, %s saw\n%s", routes, ns, out)
			}
		}
		sh(t, "ip route flush table 7201; ip -6 route flush table 7201")
		for _, f := range families {
			for _, ns := range []string{"client", ""} {
				if got := whoWithin(t, moment, ns, "udp", f.listed); got != "" {
					t.Errorf("without routes, from %q: answered by %q", ns, got)
				}
			}
		}
	}
}
