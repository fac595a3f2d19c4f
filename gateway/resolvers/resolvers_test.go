package resolvers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// system is a root directory with these files in it.
func system(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		write(t, root, name, text)
	}
	return root
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(root+name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root+name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func config() *gateway.Config {
	return &gateway.Config{
		File: "/etc/nameroute/gateway.yaml", LAN: []string{"lan0"},
		Routes: []gateway.Route{{Name: "vpn", Egress: gateway.Egress{Kind: gateway.EgressWireGuard, Link: "wg0"}}},
	}
}

var own = map[netip.Addr]bool{netip.MustParseAddr("192.168.1.1"): true, netip.MustParseAddr("fd00:1::1"): true, netip.MustParseAddr("fe80::9"): true}

// selfOnly is the resolv.conf of a router whose own resolver serves the LAN.
const selfOnly = "# dnsmasq\nnameserver 127.0.0.1\nnameserver ::1\nnameserver 192.168.1.1\nnameserver fd00:1::1\nnameserver fe80::9%lan0\nnameserver 0.0.0.0\nnameserver ::ffff:127.0.0.1\n"

// wan0 is what packets of the WAN leave by in these tests, wan1 a second uplink.
var wan0 = Active{V4: []string{"wan0"}, V6: []string{"wan0"}}

// at is a box with these files.
func at(root string) *box {
	b := &box{root: root, own: own, links: map[int]string{1: "lo", 2: "wan0", 3: "lan0", 4: "wg0", 5: "wan1", 6: "ppp0", 7: "eth0.2", 8: "pppoe-isp", 9: "wan0.100"}}
	b.readAll()
	return b
}

func texts(servers []netip.AddrPort) []string {
	var all []string
	for _, s := range servers {
		all = append(all, strings.TrimSuffix(s.String(), ":53"))
	}
	return all
}

// What each program records of a link, as it does: the resolvers of wan0, and of no other
// link.
func TestHandedOut(t *testing.T) {
	const lease = `lease {
  interface "wan0";
  fixed-address 192.0.2.9;
  option domain-name-servers 192.0.2.1;
  expire 2 2099/12/01 10:00:00;
}
lease {
  interface "wan0";
  option subnet-mask 255.255.255.0;
  option domain-name-servers 192.0.2.53, 192.0.2.54;
  option domain-name "example.com";
  expire 2 2099/12/01 10:00:00;
}
lease {
  interface "lan0";
  option domain-name-servers 10.0.0.1;
  expire never;
}
lease6 {
  interface "wan0";
  ia-na 00:00:00:01 {
    iaaddr 2001:db8::9 {
    }
  }
  option dhcp6.name-servers 2001:db8::53;
}
`
	const uuid = "5d4a9f1e-0a5b-4a4e-9d6d-2f2d1d7f3c11"
	for _, c := range []struct {
		name  string
		files map[string]string
		link  string // "": wan0
		want  []string
		from  string
	}{
		{name: "systemd-networkd", files: map[string]string{
			"/run/systemd/netif/links/2":  "# This is private data. Do not parse.\nADMIN_STATE=configured\nOPER_STATE=routable\nNETWORK_FILE=/etc/systemd/network/wan.network\nDNS=192.0.2.53 192.0.2.54:5353 fe80::1 2001:db8::53#dns.example.net\nNTP=192.0.2.123\n",
			"/run/systemd/netif/links/5":  "ADMIN_STATE=configured\nDNS=198.51.100.53\n",
			"/run/systemd/netif/leases/2": "DNS=192.0.2.99\n"},
			want: []string{"192.0.2.53", "192.0.2.54:5353", "[fe80::1%wan0]", "[2001:db8::53]"}, from: "systemd-networkd on wan0, /run/systemd/netif/links/2"},
		{name: "the lease of systemd-networkd", files: map[string]string{
			"/run/systemd/netif/leases/2": "# This is private data. Do not parse.\nADDRESS=192.0.2.9\nNETMASK=255.255.255.0\nROUTER=192.0.2.1\nSERVER_ADDRESS=192.0.2.1\nLIFETIME=3600\nDNS=192.0.2.53 192.0.2.54\n"},
			want: []string{"192.0.2.53", "192.0.2.54"}, from: "systemd-networkd on wan0, /run/systemd/netif/leases/2"},
		{name: "systemd-resolved", files: map[string]string{
			"/run/systemd/resolve/netif/2":     "# This is private data. Do not parse.\nLLMNR=yes\nSERVERS=192.0.2.53 fe80::1%2 [2001:db8::53]:5353#dns.example.net\nDOMAINS=~.\n",
			"/run/systemd/resolve/resolv.conf": "nameserver 198.51.100.53\nnameserver 192.0.2.53\n"},
			want: []string{"192.0.2.53", "[fe80::1%wan0]", "[2001:db8::53]:5353"}, from: "systemd-resolved on wan0, /run/systemd/resolve/netif/2"},
		{name: "NetworkManager", files: map[string]string{
			"/run/NetworkManager/devices/2": "[device]\nmanaged=true\nconnection-uuid=" + uuid + "\nnm-owned=false\n\n[dhcp4]\ndhcp_lease_time=3600\ndomain_name_servers=192.0.2.53 192.0.2.54\nip_address=192.0.2.9\nrequested_domain_name_servers=1\n\n[dhcp6]\ndhcp6_name_servers=2001:db8::53\n"},
			want: []string{"192.0.2.53", "192.0.2.54", "[2001:db8::53]"}, from: "NetworkManager on wan0, /run/NetworkManager/devices/2"},
		{name: "the lease of an older NetworkManager", files: map[string]string{
			"/run/NetworkManager/devices/2":                            "[device]\nmanaged=true\nconnection-uuid=" + uuid + "\n",
			"/var/lib/NetworkManager/internal-" + uuid + "-wan0.lease": "# This is private data. Do not parse.\nADDRESS=192.0.2.9\nDNS=192.0.2.53\n",
			"/var/lib/NetworkManager/internal-0-wan0.lease":            "DNS=192.0.2.99\n"},
			want: []string{"192.0.2.53"}, from: "NetworkManager on wan0, /var/lib/NetworkManager/internal-" + uuid + "-wan0.lease"},
		{name: "NetworkManager with one connection", files: map[string]string{
			"/run/NetworkManager/devices/1": "[device]\nmanaged=true\nconnection-uuid=lo\n", "/run/NetworkManager/devices/3": "[device]\nmanaged=false\n",
			"/run/NetworkManager/devices/2":           "[device]\nmanaged=true\nconnection-uuid=" + uuid + "\n",
			"/run/NetworkManager/no-stub-resolv.conf": "# Generated by NetworkManager\nsearch lan\nnameserver 192.0.2.53\nnameserver fe80::1%wan0\n"},
			want: []string{"192.0.2.53", "[fe80::1%wan0]"}, from: "NetworkManager on wan0, /run/NetworkManager/no-stub-resolv.conf"},
		{name: "dhcpcd, of all protocols", files: map[string]string{
			"/run/dhcpcd/hook-state/resolv.conf/wan0.dhcp": "# Generated by dhcpcd from wan0.dhcp\nnameserver 192.0.2.53\n",
			"/run/dhcpcd/hook-state/resolv.conf/wan0.ra":   "nameserver fe80::1%wan0\nnameserver 192.0.2.53\n",
			"/run/dhcpcd/hook-state/resolv.conf/lan0.dhcp": "nameserver 10.0.0.1\n",
			"/run/dhcpcd/hook-state/resolv.conf/wan1.dhcp": "nameserver 198.51.100.53\n",
			"/run/dhcpcd/hook-state/resolv.conf/wg0.dhcp":  "nameserver 10.0.0.2\n"},
			want: []string{"192.0.2.53", "[fe80::1%wan0]"}, from: "dhcpcd on wan0, /run/dhcpcd/hook-state/resolv.conf/wan0.dhcp, dhcpcd on wan0, /run/dhcpcd/hook-state/resolv.conf/wan0.ra"},
		{name: "dhcpcd before version 9", files: map[string]string{"/run/dhcpcd/resolv.conf/wan0.dhcp": "nameserver 192.0.2.53\n"},
			want: []string{"192.0.2.53"}, from: "dhcpcd on wan0, /run/dhcpcd/resolv.conf/wan0.dhcp"},
		{name: "resolvconf, of a VLAN", link: "wan0.100", files: map[string]string{
			"/run/resolvconf/interface/lo.dnsmasq": "nameserver 127.0.0.1\n", "/run/resolvconf/interface/wan0.dhclient": "nameserver 198.51.100.53\n",
			"/run/resolvconf/interface/wan0.100.dhclient": "nameserver 192.0.2.53\n"},
			want: []string{"192.0.2.53"}, from: "resolvconf on wan0.100, /run/resolvconf/interface/wan0.100.dhclient"},
		{name: "openresolv", files: map[string]string{"/run/resolvconf/interfaces/wan0": "nameserver 192.0.2.53\n", "/run/resolvconf/interfaces/wan1": "nameserver 198.51.100.53\n"},
			want: []string{"192.0.2.53"}, from: "resolvconf on wan0, /run/resolvconf/interfaces/wan0"},
		{name: "OpenWrt with PPPoE", link: "pppoe-isp", files: map[string]string{
			"/etc/config/network":                 "config interface 'loopback'\n\toption device 'lo'\n\nconfig interface 'isp'\n\toption device 'eth0.2'\n\toption proto 'pppoe'\n\toption username 'x'\n\nconfig interface 'isp6'\n\toption device '@isp'\n\toption proto 'dhcpv6'\n\nconfig interface lte\n\toption ifname \"wan1\"\n\toption proto dhcp\n",
			"/tmp/resolv.conf.d/resolv.conf.auto": "# Interface isp\nnameserver 192.0.2.53\n# Interface isp_6\nnameserver 2001:db8::53\n# Interface isp6\nnameserver 2001:db8::54\nsearch example.net\n# Interface lte\nnameserver 198.51.100.53\n"},
			want: []string{"192.0.2.53", "[2001:db8::53]", "[2001:db8::54]"}, from: "netifd on pppoe-isp, /tmp/resolv.conf.d/resolv.conf.auto"},
		{name: "OpenWrt with a device", link: "wan1", files: map[string]string{
			"/etc/config/network":   "config interface lte\n\toption ifname \"wan1\"\n\toption proto dhcp\n",
			"/tmp/resolv.conf.auto": "# Interface isp\nnameserver 192.0.2.53\n# Interface lte\nnameserver 198.51.100.53\n"},
			want: []string{"198.51.100.53"}, from: "netifd on wan1, /tmp/resolv.conf.auto"},
		{name: "pppd", link: "ppp0", files: map[string]string{"/etc/ppp/resolv.conf": "nameserver 192.0.2.53\nnameserver 192.0.2.54\n"},
			want: []string{"192.0.2.53", "192.0.2.54"}, from: "pppd on ppp0, /etc/ppp/resolv.conf"},
		{name: "udhcpc, of each interface", files: map[string]string{resolvConf: "search lan # wan0\nnameserver 192.0.2.53 # wan0\nnameserver 198.51.100.53 # wan1\nnameserver 9.9.9.9 # quad9\n"},
			want: []string{"192.0.2.53"}, from: "resolv.conf on wan0, /etc/resolv.conf"},
		{name: "dhclient: the last lease", files: map[string]string{"/var/lib/dhcp/dhclient.wan0.leases": lease},
			want: []string{"192.0.2.53", "192.0.2.54", "[2001:db8::53]"}, from: "dhclient on wan0, /var/lib/dhcp/dhclient.wan0.leases"},
		{name: "dhclient: the last lease has expired", files: map[string]string{"/var/lib/dhcp/dhclient.leases": strings.ReplaceAll(lease, "2099/", "2001/")},
			want: []string{"[2001:db8::53]"}, from: "dhclient on wan0, /var/lib/dhcp/dhclient.leases"},
		{name: "router advertisements, beside DHCP of IPv4", files: map[string]string{"/var/lib/dhcp/dhclient.wan0.leases": lease[:strings.Index(lease, "lease6")],
			AdvertisedFile: "2 wan0 fe80::1 fe80::1 5 0\n2 wan0 fe80::1 2001:db8::53 5 1\n5 wan1 fe80::2 2001:db8:2::53 5 0\n3 wan0 fe80::1 2001:db8::99 5 0\n"},
			want: []string{"192.0.2.53", "192.0.2.54", "[fe80::1%wan0]"}, from: "dhclient on wan0, /var/lib/dhcp/dhclient.wan0.leases, router advertisements on wan0, /run/nameroute/advertised"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.files[resolvConf] += selfOnly
			link := c.link
			if link == "" {
				link = "wan0"
			}
			r := gateway.Route{Name: "isp", Egress: gateway.Egress{Kind: gateway.EgressInterface, Link: link}}
			found, err := at(system(t, c.files)).of(config(), r, policy.RouteState{})
			if err != nil || !slices.Equal(texts(found.Servers), c.want) || found.Source != c.from {
				t.Errorf("%v from %s, %v; want %v from %s", texts(found.Servers), found.Source, err, c.want, c.from)
			}
		})
	}
}

// The WAN takes what its link was given, and only where that is nothing what a file names
// without a link; never what another link was given.
func TestWAN(t *testing.T) {
	const perLink, stub = "/run/dhcpcd/hook-state/resolv.conf/", "/run/systemd/resolve/resolv.conf"
	for _, c := range []struct {
		name   string
		files  map[string]string
		active Active
		handed bool // wan_resolvers: dhcp
		want   []string
		from   string
		self   string
	}{
		{name: "resolv.conf", active: wan0, files: map[string]string{resolvConf: "nameserver 192.0.2.53\n; nameserver 192.0.2.1\n\tnameserver 192.0.2.54 # rest\nnameserver nonsense\nnameserver\nnameserver fe80::1\n"},
			want: []string{"192.0.2.53", "192.0.2.54"}, from: resolvConf},
		{name: "resolv.conf names this box and another", active: wan0, files: map[string]string{resolvConf: selfOnly + "nameserver 192.0.2.53\n"},
			want: []string{"192.0.2.53"}, from: resolvConf, self: "/etc/resolv.conf:2: nameserver 127.0.0.1"},
		{name: "systemd-resolved", active: wan0, files: map[string]string{resolvConf: "nameserver 127.0.0.53\n", stub: "nameserver 2001:db8:1::53\n"},
			want: []string{"[2001:db8:1::53]"}, from: stub, self: "/etc/resolv.conf:1: nameserver 127.0.0.53"},
		{name: "the running system before resolv.conf", active: wan0, files: map[string]string{resolvConf: "nameserver 192.0.2.1\n", "/run/dnsmasq/resolv.conf": "nameserver 192.0.2.53\n"},
			want: []string{"192.0.2.53"}, from: "/run/dnsmasq/resolv.conf"},
		{name: "the link before resolv.conf", active: wan0, files: map[string]string{resolvConf: "nameserver 198.51.100.53\n", perLink + "wan0.dhcp": "nameserver 192.0.2.53\n"},
			want: []string{"192.0.2.53"}, from: "dhcpcd on wan0, " + perLink + "wan0.dhcp"},
		{name: "the other family of resolv.conf", active: wan0, files: map[string]string{resolvConf: "nameserver 192.0.2.53\nnameserver 2001:db8::1\n", AdvertisedFile: "2 wan0 fe80::1 2001:db8::53 5 0\n"},
			want: []string{"[2001:db8::53]", "192.0.2.53"}, from: "router advertisements on wan0, /run/nameroute/advertised, /etc/resolv.conf"},
		{name: "what another link was given", active: wan0, files: map[string]string{resolvConf: "nameserver 198.51.100.53\nnameserver 192.0.2.53\n", perLink + "wan1.dhcp": "nameserver 198.51.100.53\n"},
			want: []string{"192.0.2.53"}, from: resolvConf},
		{name: "the same for two links", active: wan0, files: map[string]string{resolvConf: "nameserver 9.9.9.9\n", perLink + "wan1.dhcp": "nameserver 8.8.8.8\n", perLink + "wan0.dhcp": "nameserver 8.8.8.8\n"},
			want: []string{"8.8.8.8"}, from: "dhcpcd on wan0, " + perLink + "wan0.dhcp"},
		{name: "each family by another link", active: Active{V4: []string{"wan0"}, V6: []string{"wan1"}},
			files: map[string]string{perLink + "wan0.dhcp": "nameserver 192.0.2.53\nnameserver 2001:db8::53\n", perLink + "wan1.ra": "nameserver 198.51.100.53\nnameserver 2001:db8:2::53\n"},
			want:  []string{"192.0.2.53", "[2001:db8:2::53]"}, from: "dhcpcd on wan0, " + perLink + "wan0.dhcp, dhcpcd on wan1, " + perLink + "wan1.ra"},
		{name: "no default yet", files: map[string]string{perLink + "lan0.dhcp": "nameserver 10.0.0.1\n", perLink + "wg0.dhcp": "nameserver 10.0.0.2\n", perLink + "wan0.dhcp": "nameserver 192.0.2.53\n"},
			want: []string{"192.0.2.53"}, from: "dhcpcd on wan0, " + perLink + "wan0.dhcp"},
		{name: "only what the link was given", active: wan0, handed: true, files: map[string]string{resolvConf: "nameserver 198.51.100.53\n", perLink + "wan0.dhcp": "nameserver 192.0.2.53\n"},
			want: []string{"192.0.2.53"}, from: "dhcpcd on wan0, " + perLink + "wan0.dhcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config()
			cfg.WANHanded = c.handed
			found, err := at(system(t, c.files)).ofWAN(cfg, c.active)
			if err != nil || !slices.Equal(texts(found.Servers), c.want) || found.Source != c.from || found.Self != c.self {
				t.Errorf("%v from %s, self %q, %v; want %v from %s, self %q", texts(found.Servers), found.Source, found.Self, err, c.want, c.from, c.self)
			}
		})
	}
}

// What others can have written has an end.
func TestFoundIsBounded(t *testing.T) {
	var text strings.Builder
	for n := range 200 {
		fmt.Fprintf(&text, "nameserver 192.0.2.%d\n", n+1)
	}
	found, err := at(system(t, map[string]string{resolvConf: text.String()})).ofWAN(config(), wan0)
	if err != nil || len(found.Servers) != maxServers {
		t.Errorf("%d resolvers, %v", len(found.Servers), err)
	}
}

// An error names the file, the line, the value and the remedy.
func TestFindNone(t *testing.T) {
	const remedy = ": set `wan_resolvers: [ADDRESS]` in /etc/nameroute/gateway.yaml"
	for _, c := range []struct {
		name, conf, want string
		files            map[string]string
	}{
		{name: "this box", conf: selfOnly, want: "/etc/resolv.conf:2: nameserver 127.0.0.1: is this box, which cannot query itself"},
		{name: "an address of this box", conf: "nameserver 192.168.1.1\n", want: "/etc/resolv.conf:1: nameserver 192.168.1.1: is this box, which cannot query itself"},
		{name: "a stub without a resolver", conf: "nameserver 127.0.0.53\n", files: map[string]string{"/run/systemd/resolve/resolv.conf": "nameserver 127.0.0.1\n"},
			want: "/etc/resolv.conf:1: nameserver 127.0.0.53: is systemd-resolved's stub, which has no resolver of the WAN either"},
		{name: "no nameserver", conf: "search lan\n", want: "/etc/resolv.conf: names no resolver"},
		{name: "the office's PPP tunnel only", conf: "", files: map[string]string{"/etc/ppp/resolv.conf": "nameserver 10.0.0.53\n"}, want: "/etc/resolv.conf: names no resolver"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := system(t, c.files)
			write(t, root, resolvConf, c.conf)
			cfg := config()
			cfg.Routes = append(cfg.Routes, gateway.Route{Name: "office", Egress: gateway.Egress{Kind: gateway.EgressInterface, Link: "ppp0"}})
			found, err := at(root).ofWAN(cfg, wan0)
			if want := "no resolver of the WAN is known: " + c.want + remedy; err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			if len(found.Servers) > 0 {
				t.Errorf("found %v", found.Servers)
			}
		})
	}
	r := gateway.Route{Name: "isp", Egress: gateway.Egress{Kind: gateway.EgressInterface, Link: "wan1"}}
	_, err := at(system(t, map[string]string{resolvConf: "nameserver 192.0.2.53\n"})).of(config(), r, policy.RouteState{})
	if want := "route isp: no resolver is known: wan1 was given none by DHCP, PPP or router advertisements"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	cfg := config()
	cfg.WANHanded = true
	_, err = at(system(t, map[string]string{resolvConf: "nameserver 192.0.2.53\n"})).ofWAN(cfg, wan0)
	if want := "no resolver of the WAN is known: wan_resolvers: dhcp: wan0 was given none by DHCP, PPP or router advertisements"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// Everybody may write to /tmp: a file of another user there does not decide where queries
// are sent.
func TestFindIgnoresOtherUsersFiles(t *testing.T) {
	const auto = "/tmp/resolv.conf.d/resolv.conf.auto"
	root := system(t, map[string]string{resolvConf: selfOnly, auto: "nameserver 192.0.2.53\n"})
	if err := os.Chmod(root+auto, 0o666); err != nil {
		t.Fatal(err)
	}
	if found, err := at(root).ofWAN(config(), wan0); err == nil {
		t.Errorf("writable for others: found %+v", found)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	if err := errors.Join(os.Chmod(root+auto, 0o644), os.Chown(root+auto, 1000, 1000)); err != nil {
		t.Fatal(err)
	}
	if found, err := at(root).ofWAN(config(), wan0); err == nil {
		t.Errorf("another user's: found %+v", found)
	}
}

func TestFindPrefersGatewayYAML(t *testing.T) {
	cfg := config()
	cfg.WANResolvers = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.54:5353")}
	found, err := Find(cfg)
	if err != nil || !slices.Equal(found.Servers, cfg.WANResolvers) || found.Source != cfg.File {
		t.Errorf("%+v %v", found, err)
	}
}

// Each change is reported once: also the first one, made before Run begins to look.
func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "/run/systemd/resolve/resolv.conf"
		root := system(t, map[string]string{resolvConf: "nameserver 127.0.0.53\n"})
		w := newWatcher(root)
		write(t, root, name, "nameserver 192.0.2.53\n")
		var times atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.Run(ctx, func() { times.Add(1) })
		want := func(what string, n int) {
			t.Helper()
			time.Sleep(interval + 2*settle)
			synctest.Wait()
			if times := int(times.Load()); times != n {
				t.Errorf("%s: reported %d times, want %d", what, times, n)
			}
		}
		want("created before Run", 1)
		write(t, root, name, "nameserver 192.0.2.54\n")
		want("written in place", 2)
		if err := os.WriteFile(root+name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval - 2*settle + settle/2) // it is read while it is empty, and written then
		write(t, root, name, "nameserver 192.0.2.55\n")

		want("truncated first", 3)
		write(t, root, name+".new", "nameserver 192.0.2.56\n")
		if err := os.Rename(root+name+".new", root+name); err != nil {
			t.Fatal(err)
		}
		want("replaced", 4)
		write(t, root, name, "# renewed\nnameserver 192.0.2.56\n")
		write(t, root, "/run/systemd/resolve/other", "nameserver 192.0.2.57\n")
		want("nothing of it changed", 4)
		if err := os.Remove(root + name); err != nil {
			t.Fatal(err)
		}
		want("deleted", 5)
	})
}
