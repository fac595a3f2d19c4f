package policy

import (
	"fmt"
	"strings"
	"testing"
)

// What other programs' policy rules do to packets of ours is the kernel's own answer.
func TestDiversions(t *testing.T) {
	const table99 = "ip route add default via 192.0.2.9 dev wan0 table 99; ip -6 route add default via 2001:db8:1::9 dev wan0 table 99; "
	for _, c := range []struct{ name, set, want string }{
		{"none", "", ""},
		{"after ours", table99 + "ip rule add pref 8000 lookup 99", ""},
		{"mwan3", table99 + "ip rule add pref 2001 fwmark 0x100/0x3f00 lookup 99; ip -6 rule add pref 2001 fwmark 0x100/0x3f00 lookup 99",
			"4 2001 vpn,wan wan0; 6 2001 vpn,wan wan0"},
		{"wg-quick, loaded after ours", table99 + "ip rule add not fwmark 0xca6c lookup 99", "4 7199 vpn,wan wan0"},
		{"its rule for table main", "ip rule add pref 7190 lookup main suppress_prefixlength 0", ""},
		{"the same, and main has more", "ip rule add pref 7190 lookup main suppress_prefixlength 0; ip route add 64.0.0.0/2 via 192.0.2.1", "4 7190 vpn wan0"},
		{"Tailscale without an exit node", "ip route add 100.100.100.100 dev lan0 table 52; ip rule add pref 5270 lookup 52", ""},
		{"Tailscale with one", "ip route add default dev lan0 table 52; ip rule add pref 5270 lookup 52", "4 5270 vpn,wan lan0"},
		{"some destinations", table99 + "ip rule add pref 200 to 30.0.0.0/8 lookup 99; ip -6 rule add pref 200 to 2a0f::/16 lookup 99", "4 200 vpn,wan wan0; 6 200 vpn,wan wan0"},
		{"local destinations", table99 + "ip rule add pref 200 to 192.168.1.0/25 lookup 99", ""},
		{"what comes in", table99 + "sysctl -qw net.ipv4.ip_forward=1; ip rule add pref 300 iif lan0 lookup 99", "4 300 vpn,wan wan0"},
		{"some clients", table99 + "sysctl -qw net.ipv4.ip_forward=1; ip rule add pref 300 from 192.168.1.50 lookup 99", "4 300 vpn,wan wan0"},
		{"the whole mark", table99 + "ip rule add pref 300 fwmark 0x1000000 lookup 99", "4 300 vpn wan0"},
		{"another mark", table99 + "ip rule add pref 300 fwmark 0x80000/0xff0000ff lookup 99", ""},
		{"prohibit", "ip rule add pref 300 prohibit; ip -6 rule add pref 300 unreachable", "4 300 vpn,wan ; 6 300 vpn,wan "},
		{"goto", "ip rule add pref 300 goto 32766", "4 300 vpn,wan wan0"},
		{"bound sockets", table99 + "ip rule add pref 300 oif wan0 lookup 99", ""},
		{"sockets bound to the tunnel", "ip -6 rule add pref 300 oif wg0 prohibit", "6 300 vpn "},
		{"a port", table99 + "ip rule add pref 300 dport 443 lookup 99; ip -6 rule add pref 300 dport 443 lookup 99", "4 300 vpn,wan wan0; 6 300 vpn,wan wan0"},
		{"ports of UDP, forwarded", table99 + "sysctl -qw net.ipv4.ip_forward=1; ip rule add pref 300 iif lan0 ipproto udp sport 1000-2000 lookup 99", "4 300 vpn,wan wan0"},
		{"a protocol", table99 + "ip rule add pref 300 ipproto icmp lookup 99; ip -6 rule add pref 300 ipproto ipv6-icmp lookup 99", "4 300 vpn,wan wan0; 6 300 vpn,wan wan0"},
		{"a protocol that none of ours is asked about", table99 + "ip rule add pref 300 ipproto gre lookup 99", ""},
		{"some users", table99 + "ip rule add pref 300 uidrange 1000-2000 lookup 99; ip -6 rule add pref 300 uidrange 1000-2000 lookup 99", "4 300 vpn,wan wan0; 6 300 vpn,wan wan0"},
		{"a type of service", table99 + "ip rule add pref 300 tos 0x10 lookup 99", "4 300 vpn,wan wan0"},
		{"all but a port", table99 + "ip rule add pref 300 not dport 53 lookup 99", "4 300 vpn,wan wan0"},
		{"a port, prohibited", "ip rule add pref 300 dport 25 prohibit; ip -6 rule add pref 300 dport 25 prohibit", "4 300 vpn,wan ; 6 300 vpn,wan "},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := lab(t)
			cfg := config(wireguard("vpn", "wg0"))
			apply(t, k, cfg)
			if c.set != "" {
				run(t, c.set)
			}
			got, err := k.Diversions(cfg)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, d := range got {
				lines = append(lines, fmt.Sprintf("%d %d %s %s", d.Family, d.Priority, strings.Join(d.Routes, ","), d.Link))
			}
			if all := strings.Join(lines, "; "); all != c.want {
				t.Errorf("%q, want %q\n%s", all, c.want, run(t, "ip rule; ip -6 rule"))
			}
			for _, d := range got {
				t.Log(d)
			}
		})
	}
}
