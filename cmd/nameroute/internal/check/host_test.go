package check

import (
	"bytes"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/hostfs"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/testbox"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/test/netlab"
)

// machine is a router that is checked.
type machine struct{ testbox.Box }

func parsed(t *testing.T, more string) *gateway.Config {
	t.Helper()
	cfg, err := config.Parse("/etc/nameroute/gateway.yaml", []byte("lan: [br-lan]\nroutes:\n  vpn: {interface: tun0}\n"+more))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// findings returns what checkHost prints, but for the clock, which is not the namespace's.
func (m machine) findings(cfg *gateway.Config) []string {
	m.T.Helper()
	core, err := corefile.Parse("Corefile", []byte(". {\n upstream wan\n}\ntls://. {\n bind 127.0.0.1\n upstream wan\n}\n"))
	if err != nil {
		m.T.Fatal(err)
	}
	var out bytes.Buffer
	m.Do(func() {
		checkHost(cfg, core, time.Time{}, &report{out: &out})
	})
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(out.String()), "\n"), func(l string) bool { return l == "" || strings.Contains(l, "clock") })
}

func (m machine) want(cfg *gateway.Config, want ...string) {
	m.T.Helper()
	if got := m.findings(cfg); !slices.Equal(got, want) {
		m.T.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// situation is a configuration of the machine, and what is reported about it.
type situation struct {
	rules string   // nft
	ip    []string // ip(8)
	sh    string
	yaml  string // more of gateway.yaml
	want  []string
}

func firewallSituations() map[string]situation {
	return map[string]situation{
		"nothing": {rules: testbox.Masquerade},
		"forwarding": {
			rules: testbox.Masquerade, sh: "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0",
			want: []string{
				"ok       net.ipv4.ip_forward is 0: nameroute enables it once the nft table exists",
				"ok       net.ipv6.conf.all.forwarding is 0: nameroute enables it once the nft table exists",
			},
		},
		"reverse path": {
			rules: testbox.Masquerade, sh: "sysctl -qw net.ipv4.conf.tun0.rp_filter=1 net.ipv4.conf.wan0.rp_filter=2",
			want: []string{"ok       rp_filter is 1 (strict) on tun0: nameroute sets it to 2 (loose), and `nameroute down` restores it"},
		},
		"reverse path of all": {
			rules: testbox.Masquerade, sh: "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.tun0.rp_filter=0 net.ipv4.conf.wan0.rp_filter=2",
			want: []string{"ok       rp_filter is 1 (strict) on tun0: nameroute sets it to 2 (loose), and `nameroute down` restores it"},
		},
		"a container": {
			rules: testbox.Masquerade, sh: "sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.tun0.rp_filter=1; mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys",
			want: []string{
				"warning  net.ipv4.ip_forward is 0 and /proc/sys is read-only: nothing is forwarded: set it on the host (docker: --sysctl net.ipv4.ip_forward=1)",
				"warning  rp_filter is 1 (strict) on tun0 and /proc/sys is read-only: replies that arrive on it are dropped: set net.ipv4.conf.tun0.rp_filter=2 on the host",
			},
		},
		"no source NAT": {
			rules: "table ip nat { chain postrouting { type nat hook postrouting priority srcnat; oifname tun0 masquerade; } }",
			want:  []string{"warning  no source NAT for br-lan (192.168.7.0/24) on wan0: connections to names on no list get no replies: nft add table ip nat; nft 'add chain ip nat postrouting { type nat hook postrouting priority srcnat; }'; nft add rule ip nat postrouting oifname wan0 masquerade (not needed if the router behind wan0 has a route back)"},
		},
		"no source NAT, with a default route": {
			yaml: "default: {clients: vpn}\nexclude: [192.0.2.9]\n", rules: "table ip nat { chain postrouting { type nat hook postrouting priority srcnat; oifname tun0 masquerade; } }",
			want: []string{"warning  no source NAT for br-lan (192.168.7.0/24) on wan0: connections to what takes the WAN get no replies: nft add table ip nat; nft 'add chain ip nat postrouting { type nat hook postrouting priority srcnat; }'; nft add rule ip nat postrouting oifname wan0 masquerade (not needed if the router behind wan0 has a route back)"},
		},
		"no source NAT, and a class by the WAN": {
			yaml: "default: {clients: vpn}\nclients:\n  laptop: {mac: [\"00:00:5e:00:53:01\"], route: wan}\n", rules: "table ip nat { chain postrouting { type nat hook postrouting priority srcnat; oifname tun0 masquerade; } }",
			want: []string{"warning  no source NAT for br-lan (192.168.7.0/24) on wan0: connections to what takes the WAN get no replies: nft add table ip nat; nft 'add chain ip nat postrouting { type nat hook postrouting priority srcnat; }'; nft add rule ip nat postrouting oifname wan0 masquerade (not needed if the router behind wan0 has a route back)"},
		},
		"no source NAT, and nothing for the WAN": {yaml: "default: {clients: vpn}\n", rules: "table ip nat { chain postrouting { type nat hook postrouting priority srcnat; oifname tun0 masquerade; } }"},
		"source NAT of several interfaces":       {yaml: "wan: [wan0, wan1]\n"},
		"redirected":                             {rules: testbox.Masquerade, yaml: "redirect_dns: on\n"},
		"redirected by another table": {
			rules: testbox.Masquerade + `table inet fw4 {
				chain dstnat { type nat hook prerouting priority dstnat; iifname "br-lan" jump dstnat_lan; }
				chain dstnat_lan { ip saddr != 192.168.7.5 udp dport 53 redirect to :53; tcp dport 80 dnat ip to 192.168.7.5; }
			}`,
			yaml: "redirect_dns: on\n",
			want: []string{"warning  nft chain inet fw4 dstnat_lan (fw4) also redirects the DNS queries of br-lan; whether it or redirect_dns wins depends on their priorities: use only one"},
		},
		"other traffic redirected by another table": {
			rules: testbox.Masquerade + `table inet fw4 {
				chain dstnat { type nat hook prerouting priority dstnat; iifname "wan0" udp dport 53 redirect to :53; iifname "br-lan" tcp dport 80 dnat ip to 192.168.7.5; }
			}`,
			yaml: "redirect_dns: on\n",
		},
		"redirected by iptables": {
			sh:   "iptables-nft -t nat -A POSTROUTING -o wan0 -j MASQUERADE; iptables-nft -t nat -A PREROUTING -i br-lan -p udp --dport 53 -j REDIRECT --to-ports 53",
			yaml: "redirect_dns: on\n",
			want: []string{"warning  nft chain ip nat PREROUTING (iptables) also redirects the DNS queries of br-lan; whether it or redirect_dns wins depends on their priorities: use only one"},
		},
		"snat by iptables": {sh: "iptables-nft -t nat -A POSTROUTING -o wan0 -s 192.168.7.0/24 -j SNAT --to-source 198.51.100.2"},
		"iptables' MASQUERADE": {
			sh: "iptables-nft -t nat -A POSTROUTING -o wan+ -m comment --comment home -j MASQUERADE",
		},
		"Docker": {
			rules: testbox.Masquerade,
			sh: `iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN; iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -j DOCKER-USER
			     iptables-nft -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables-nft -A FORWARD -i docker0 ! -o docker0 -j ACCEPT`,
			want: []string{"warning  firewall: chain ip filter FORWARD drops packets from br-lan to tun0: Docker sets that policy: iptables -I DOCKER-USER -i br-lan -j ACCEPT; iptables -I DOCKER-USER -o br-lan -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"},
		},
		"Docker, with its remedy": {
			rules: testbox.Masquerade,
			sh: `iptables-nft -N DOCKER-USER; iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -j DOCKER-USER
			     iptables-nft -I DOCKER-USER -i br-lan -j ACCEPT; iptables-nft -I DOCKER-USER -o br-lan -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
		},
		"iptables accepts new connections of the LAN": {
			rules: testbox.Masquerade,
			sh:    "iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables-nft -A FORWARD -i br-lan -m conntrack --ctstate NEW -j ACCEPT",
		},
		"iptables accepts none": {
			rules: testbox.Masquerade,
			sh:    "iptables-nft -P FORWARD DROP; iptables-nft -P INPUT DROP; iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT",
			want: []string{
				"warning  firewall: chain ip filter FORWARD drops packets from br-lan to tun0: iptables -I FORWARD -i br-lan -j ACCEPT; iptables -I FORWARD -o br-lan -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT (and ip6tables)",
				"warning  firewall: chain ip filter INPUT drops queries from br-lan to udp port 53: iptables -I INPUT -i br-lan -p udp --dport 53 -j ACCEPT; iptables -I INPUT -i br-lan -p tcp --dport 53 -j ACCEPT (and ip6tables)",
			},
		},
		"iptables-legacy": {
			sh:   "iptables-legacy -P FORWARD DROP; iptables-legacy -t nat -A POSTROUTING -o wan0 -j MASQUERADE",
			want: []string{"warning  firewall: chain FORWARD of iptables-legacy drops packets from br-lan: iptables-legacy -I FORWARD -i br-lan -j ACCEPT; iptables-legacy -I FORWARD -o br-lan -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"},
		},
		"marks written by nft": {
			rules: testbox.Masquerade + `table inet other {
				chain p { type filter hook prerouting priority mangle; meta mark set 0x1; ct mark set meta mark; }
				chain q { type filter hook prerouting priority mangle; meta mark set meta mark and 0xffff00ff or 0x100; }
			}`,
			want: []string{
				"warning  firewall: chain inet other p, rule handle 3: meta mark set 0x1: writes bits of the mark that are nameroute's (0x7f000000), which may block listed connections: keep these bits: meta mark set meta mark & 0x7f000000 | VALUE",
				"warning  firewall: chain inet other p, rule handle 4: ct mark set meta mark: writes bits of the mark that are nameroute's (0x7f000000), which may block listed connections: keep these bits: ct mark set ct mark & 0x7f000000 | VALUE",
			},
		},
		"marks written by iptables": {
			rules: testbox.Masquerade,
			sh:    "iptables-nft -t mangle -A PREROUTING -j MARK --set-mark 1; ip6tables-nft -t mangle -A OUTPUT -j CONNMARK --save-mark; iptables-nft -t mangle -A FORWARD -j MARK --set-xmark 0x100/0x3f00",
			want: []string{
				"warning  firewall: chain ip mangle PREROUTING, rule handle 2: -j MARK --set-xmark 0x1/0xffffffff: writes bits of the mark that are nameroute's (0x7f000000), which may block listed connections: give the mark a mask without these bits: --set-xmark VALUE/0x80ffffff",
				"warning  firewall: chain ip6 mangle OUTPUT, rule handle 2: -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff: writes bits of the mark that are nameroute's (0x7f000000), which may block listed connections: add --nfmask 0x80ffffff --ctmask 0x80ffffff",
			},
		},
		"marks written by iptables-legacy": {
			rules: testbox.Masquerade,
			sh:    "iptables-legacy -t mangle -A PREROUTING -j MARK --set-mark 1; iptables-legacy -t mangle -A PREROUTING -j CONNMARK --restore-mark --mask 0xff; ip6tables-legacy -t mangle -A PREROUTING -j CONNMARK --save-mark",
			want: []string{
				"warning  firewall: iptables-legacy -t mangle -A PREROUTING -j MARK --set-xmark 0x1/0xffffffff: writes bits of the mark that are nameroute's (0x7f000000), which may block listed connections: give the mark a mask without these bits, such as 0x80ffffff",
				"warning  firewall: ip6tables-legacy -t mangle -A PREROUTING -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff: writes bits of the mark that are nameroute's (0x7f000000), which may block listed connections: give the mark a mask without these bits, such as 0x80ffffff",
			},
		},
		"nftables.service": {
			rules: testbox.Masquerade + `table inet filter {
				chain input { type filter hook input priority filter; policy drop; ct state established,related accept; iif lo accept; iifname br-lan tcp dport { 22, 53 } accept; }
				chain forward { type filter hook forward priority filter; policy drop; ct state established,related accept; iifname br-lan oifname wan0 accept; } }`,
			want: []string{
				"warning  firewall: chain inet filter forward drops packets from br-lan to tun0: nft insert rule inet filter forward iifname br-lan accept; nft insert rule inet filter forward oifname br-lan ct state established,related accept; add to its ruleset file too",
				"warning  firewall: chain inet filter input drops queries from br-lan to udp port 53: nft insert rule inet filter input iifname br-lan meta l4proto { tcp, udp } th dport 53 accept; add to its ruleset file too",
			},
		},
		"rules that may or may not match": {
			rules: testbox.Masquerade + `table inet filter {
				chain input { type filter hook input priority filter; policy drop; ip saddr 192.168.0.0/16 accept; ip6 saddr fe80::/10 accept; }
				chain forward { type filter hook forward priority filter; policy drop; meta mark 7 accept; } }`,
		},
		"a map of verdicts": {
			rules: testbox.Masquerade + `table inet filter {
				chain lan { accept; }
				chain forward { type filter hook forward priority filter; iifname vmap { "br-lan" : jump lan, "isp0" : drop }; reject; } }`,
		},
		"firewalld": {
			rules: testbox.Masquerade + `table inet firewalld {
				chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; ct state { established, related } accept; jump filter_FORWARD_POLICIES; reject with icmpx admin-prohibited; }
				chain filter_FORWARD_POLICIES { iifname "br-lan" oifname "wan0" jump filter_FWD_home; iifname "br-lan" reject; }
				chain filter_FWD_home { accept; } }`,
			want: []string{"warning  firewall: chain inet firewalld filter_FORWARD drops packets from br-lan to tun0: add tun0 to a zone (firewall-cmd --permanent --zone=external --add-interface=tun0) and allow the zone of br-lan to reach it with a policy of target ACCEPT"},
		},
		"ufw": {
			rules: testbox.Masquerade + `table ip filter {
				chain ufw-before-forward { }
				chain FORWARD { type filter hook forward priority filter; policy drop; jump ufw-before-forward; } 
				chain INPUT { type filter hook input priority filter; policy drop; jump ufw-before-forward; } }`,
			want: []string{
				"warning  firewall: chain ip filter FORWARD drops packets from br-lan to tun0: ufw route allow in on br-lan out on tun0",
				"warning  firewall: chain ip filter INPUT drops queries from br-lan to udp port 53: ufw allow in on br-lan to any port 53",
			},
		},
		"fw4": {
			rules: testbox.Masquerade + `table inet fw4 {
				chain forward { type filter hook forward priority filter; policy drop; iifname "br-lan" jump forward_lan; }
				chain forward_lan { oifname "wan0" accept; } }`,
			want: []string{"warning  firewall: chain inet fw4 forward drops packets from br-lan to tun0: in /etc/config/firewall, put tun0 into a zone and allow forwarding from the zone of br-lan to it"},
		},
	}
}

func otherSituations() map[string]situation {
	return map[string]situation{
		"a policy rule on bits of the mask": {
			rules: testbox.Masquerade, ip: []string{"rule add fwmark 0x1000000/0xff000000 lookup 100 priority 30000"},
			want: []string{"warning  ip -4 rule 30000 of another program (fwmark 0x1000000/0xff000000 lookup 100): it matches mark bits of nameroute's mask 0x7f000000: choose other bits with `mask:` in /etc/nameroute/gateway.yaml"},
		},
		"policy rules without a conflict": {
			rules: testbox.Masquerade,
			ip:    []string{"rule add not fwmark 0xca6c lookup 51820 priority 32764", "rule add fwmark 0x80000/0xff0000 lookup 52 priority 5210", "rule add from 10.0.0.0/8 lookup 90 priority 100"},
		},
		"a catch-all policy rule before ours": {
			rules: testbox.Masquerade, ip: []string{"rule add not fwmark 0xca6c lookup 51820 priority 5000", "route add 0.0.0.0/1 dev tun0 table 51820", "route add 128.0.0.0/1 dev tun0 table 51820"},
			want: []string{"warning  ip -4 rule 5000 of another program (not fwmark 0xca6c lookup 51820) decides before ours and sends packets of vpn, wan to tun0; the kill switch drops what leaves by another way than its route: give it a priority after ours, or set `priority:` so that ours come before 5000"},
		},
		"a catch-all policy rule to a table without a default, as Tailscale's": {
			rules: testbox.Masquerade, sh: "ip rule add lookup 52 priority 5270; ip -6 rule add lookup 52 priority 5270; ip route add 100.100.100.100/32 dev tun0 table 52",
		},
		"a policy rule among ours": {
			rules: testbox.Masquerade, sh: "ip -6 rule add iif isp0 lookup 90 priority 7250",
			want: []string{"warning  ip -6 rule 7250 of another program (iif isp0 lookup 90): its priority is among nameroute's (7200 to 7329): choose others with `priority:` in /etc/nameroute/gateway.yaml"},
		},
		"another program uses a routing table of ours": {
			rules: testbox.Masquerade, yaml: "  office: {interface: isp0, table: 7000}\n",
			ip: []string{"route add 203.0.113.0/24 dev wan0 table 7000", "rule add from 10.1.0.0/16 lookup 7000 priority 31000"},
			want: []string{
				"warning  ip -4 rule 31000 of another program (from 10.1.0.0/16 lookup 7000): it uses the table of route office: choose another with `table:`",
				"warning  ip -4 route show table 7000: another program has 1 route in the table of route office: choose another with `table:`",
			},
		},
		"MTU of an interface": {
			rules: testbox.Masquerade, ip: []string{"link set wan0 mtu 1400"},
			want: []string{"warning  route vpn: the MTU of tun0 (1500) is larger than the WAN's (1400): ip link set tun0 mtu 1400, less the tunnel's overhead"},
		},
		"wg-quick was there before": {
			rules: testbox.Masquerade, yaml: "  wg: {wireguard: /nowhere/wg0.conf}\n", ip: []string{"link add wg0 type bridge"},
			want: []string{"warning  route wg stays down: interface wg0 exists and was not made by nameroute: systemctl disable --now wg-quick@wg0, or ip link delete wg0"},
		},
		"IPv6 in the LAN only": {
			rules: testbox.Masquerade, ip: []string{"addr add 2001:db8:7::1/64 dev br-lan nodad"},
			want: []string{"warning  IPv6: br-lan has addresses, but the WAN has no default route: clients try IPv6 first and wait: stop announcing it on br-lan, or accept the WAN's router advertisements (sysctl net.ipv6.conf.wan0.accept_ra=2)"},
		},
		"IPv6 at the WAN only": {
			rules: testbox.Masquerade, ip: []string{"addr add 2001:db8:8::2/64 dev wan0 nodad", "route add default via 2001:db8:8::1 dev wan0", "addr add fd00::1/64 dev br-lan nodad"},
			want: []string{"ok       IPv6: the WAN has it, br-lan has no public address: clients use IPv4 only"},
		},
	}
}

func TestHostIsChecked(t *testing.T) {
	all := firewallSituations()
	maps.Copy(all, otherSituations())
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := machine{testbox.New(t)}
			if strings.Contains(c.sh, "iptables-legacy") {
				netlab.Need(t, "iptables-legacy")
			}
			if strings.Contains(c.sh, "iptables-nft") {
				netlab.Need(t, "iptables-nft")
			}
			if c.rules != "" {
				m.NFT(strings.ReplaceAll(c.rules, "} }", "}\n}")) // nft wants them on lines of their own
			}
			m.IP(c.ip...)
			if c.sh != "" {
				m.Sh("set -e; " + c.sh)
			}
			m.want(parsed(t, c.yaml), c.want...)
		})
	}
}

func TestOtherProgramsFilesAreChecked(t *testing.T) {
	lan := netip.MustParseAddr("192.168.7.1")
	networkd := func(h *host, r *report) { h.checkNetworkd(r) }
	dhcp := func(h *host, r *report) { h.checkDHCP(r) }
	kernel := func(h *host, r *report) { h.checkKernel(r, func() (bool, error) { return true, nil }) }
	runs := "/proc/321/comm"
	for name, c := range map[string]struct {
		look  func(*host, *report)
		files map[string]string
		want  string
	}{
		"networkd": {networkd, map[string]string{runs: "systemd-network\n", "/etc/systemd/networkd.conf": "[Network]\n#ManageForeignRoutes=yes\n"},
			"warning  systemd-networkd removes the policy rules and routes of other programs; nameroute restores them, but only after a gap: write [Network] and ManageForeignRoutingPolicyRules=no and ManageForeignRoutes=no to /etc/systemd/networkd.conf.d/nameroute.conf, then systemctl restart systemd-networkd\n"},
		"networkd, half configured": {networkd, map[string]string{
			runs: "systemd-network\n", "/etc/systemd/networkd.conf": "[Network]\nManageForeignRoutes=no\n",
			"/usr/lib/systemd/networkd.conf.d/10-x.conf": "[Network]\nManageForeignRoutingPolicyRules=no\n",
			"/etc/systemd/networkd.conf.d/10-x.conf":     "[DHCPv4]\nManageForeignRoutingPolicyRules=no\n",
		},
			"warning  systemd-networkd removes the policy rules and routes of other programs; nameroute restores them, but only after a gap: write [Network] and ManageForeignRoutingPolicyRules=no to /etc/systemd/networkd.conf.d/nameroute.conf, then systemctl restart systemd-networkd\n"},
		"networkd, configured":  {networkd, map[string]string{runs: "systemd-network\n", "/run/systemd/networkd.conf.d/a.conf": "[Network]\nManageForeignRoutes = false\nManageForeignRoutingPolicyRules=0\n"}, ""},
		"networkd, not running": {networkd, map[string]string{runs: "systemd-resolve\n"}, ""},

		"dnsmasq, not a DHCP server": {dhcp, map[string]string{"/etc/dnsmasq.conf": "port=0\n#dhcp-range=1.2.3.4,1.2.3.9\n"}, ""},
		"dnsmasq, port 0": {dhcp, map[string]string{"/etc/dnsmasq.conf": "port=0\n", "/etc/dnsmasq.d/lan.conf": "dhcp-range=192.168.7.10,192.168.7.99\ndhcp-option=3,192.168.7.1\n"},
			"warning  /etc/dnsmasq.d/lan.conf: dnsmasq assigns addresses but announces no resolver, because port=0 turns its own off: dhcp-option=option:dns-server,0.0.0.0 and dhcp-option=option6:dns-server,[::] announce this box\n"},
		"dnsmasq, this box":         {dhcp, map[string]string{"/etc/dnsmasq.conf": "port=0\ndhcp-range=a\ndhcp-option=option:dns-server,0.0.0.0\ndhcp-option=tag:x,6,192.168.7.1 # us\n"}, ""},
		"dnsmasq, another resolver": {dhcp, map[string]string{"/etc/dnsmasq.conf": "dhcp-range=a\ndhcp-option=option6:dns-server,[2001:db8::8]\n"}, "warning  /etc/dnsmasq.conf announces 2001:db8::8 as the LAN's resolver, which is not this box: its clients' queries bypass nameroute: dhcp-option=option:dns-server,0.0.0.0 and dhcp-option=option6:dns-server,[::] announce this box\n"},
		"Kea, another resolver": {dhcp, map[string]string{"/etc/kea/kea-dhcp4.conf": `{ "Dhcp4": { // comment
			# another
			"subnet4": [ { "subnet": "192.168.7.0/24", /* and "one" */ "option-data": [ { "name": "domain-name-servers", "data": "192.168.7.1, 9.9.9.9" } ] } ] } }`},
			"warning  /etc/kea/kea-dhcp4.conf announces 9.9.9.9 as the LAN's resolver, which is not this box: its clients' queries bypass nameroute: set domain-name-servers to this box's address in the LAN\n"},
		"Kea, no resolver": {dhcp, map[string]string{"/etc/kea/kea-dhcp6.conf": `{"Dhcp6":{"subnet6":[{"subnet":"2001:db8::/64"}]}}`},
			"warning  /etc/kea/kea-dhcp6.conf announces no resolver: add to option-data: { \"name\": \"dns-servers\", \"data\": \"ADDRESS\" }, with this box's address in the LAN\n"},
		"Kea, this box": {dhcp, map[string]string{"/etc/kea/kea-dhcp4.conf": `{"Dhcp4":{"option-data":[{"name":"domain-name-servers","data":"192.168.7.1"}],"subnet4":[{}]}}`}, ""},

		"no conntrack": {kernel, nil, "warning  the kernel has no conntrack, and its module cannot be loaded from here: established flows cannot keep their route: modprobe nf_conntrack (in a container: on the host)\n"},
		"conntrack":    {kernel, map[string]string{"/proc/sys/net/netfilter/nf_conntrack_max": "262144\n"}, ""},
		"no nftables": {func(h *host, r *report) { h.checkKernel(r, func() (bool, error) { return false, os.ErrNotExist }) }, map[string]string{"/proc/sys/net/netfilter/nf_conntrack_max": "262144\n"},
			"error    nf_tables: cannot list nft tables: file does not exist: modprobe nf_tables, or use a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &host{Root: hostfs.Root(t.TempDir()), own: map[netip.Addr]bool{lan: true}}
			for file, text := range c.files {
				if err := os.MkdirAll(filepath.Join(string(h.Root), filepath.Dir(file)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(string(h.Root), file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			c.look(h, &report{out: &out})
			if out.String() != c.want {
				t.Errorf("got  %swant %s", out.String(), c.want)
			}
		})
	}
}

func TestClockBeforeTheBuildIsReported(t *testing.T) {
	var out bytes.Buffer
	(&host{}).checkClock(&report{out: &out}, time.Unix(0, 0), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	if want := "warning  the clock says 1970-01-01 00:00:00, but this program was built on 2026-03-01: set the clock (timedatectl set-ntp true, or install chrony)\n"; out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
}

// WireGuard adds 60 bytes to packets to an IPv4 endpoint, 80 to an IPv6 one or a name.
func TestTunnelMTUMustFitTheWAN(t *testing.T) {
	m := machine{testbox.New(t)}
	m.NFT(strings.ReplaceAll(testbox.Masquerade, "} }", "}\n}"))
	for _, c := range []struct {
		file, endpoint, yaml, want string
	}{
		{"MTU = 1440\n", "192.0.2.1:51820", "", ""},
		{"MTU = 1441\n", "192.0.2.1:51820", "", "1441 does not fit into the WAN's 1500: large packets are lost: set 1440, or remove it (FILE)"},
		{"MTU = 1440\n", "[2001:db8::1]:51820", "", "1440 does not fit into the WAN's 1500: large packets are lost: set 1420, or remove it (FILE)"},
		{"MTU = 1440\n", "vpn.example.net:51820", "", "1440 does not fit into the WAN's 1500: large packets are lost: set 1420, or remove it (FILE)"},
		{"MTU = 1500\n", "192.0.2.1:51820", ", mtu: 1400", ""},
		{"", "192.0.2.1:51820", ", mtu: 1500", "1500 does not fit into the WAN's 1500: large packets are lost: set 1440, or remove it (gateway.yaml)"},
		{"", "192.0.2.1:51820", "", ""},
	} {
		file := filepath.Join(t.TempDir(), "wg0.conf")
		text := "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\nAddress = 10.9.0.2/32\n" + c.file +
			"[Peer]\nPublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\nAllowedIPs = 0.0.0.0/0\nEndpoint = " + c.endpoint + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Parse("gateway.yaml", []byte("lan: [br-lan]\nroutes:\n  vpn: {wireguard: "+file+c.yaml+"}\n"))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if c.want != "" {
			want = []string{"warning  route vpn: MTU " + strings.ReplaceAll(c.want, "FILE", file)}
		}
		m.want(cfg, want...)
	}
}

func FuzzHostFiles(f *testing.F) {
	f.Add(`{"a":[{"name":"domain-name-servers","data":"1.2.3.4"}],"subnet4":[{}]} # x`)
	f.Add("[Network]\nManageForeignRoutes=no\n")
	f.Add("dhcp-range=x\ndhcp-option=tag:a,option:dns-server,[::]\n:FORWARD DROP [0:0]\n-A POSTROUTING ! -o wan0 -j MASQUERADE\n")
	f.Add(`"\`)
	f.Fuzz(func(t *testing.T, text string) {
		if out := withoutComments(text); len(out) > len(text) {
			t.Errorf("%q became longer: %q", text, out)
		}
		keaServers(text, "dns-servers")
		iniValue(text, "Network", "ManageForeignRoutes")
		var d dnsmasq
		d.parse("file", text)
		savedTranslates([]byte(text), "wan0")
		savedDrops([]byte(text), "br-lan")
	})
}
