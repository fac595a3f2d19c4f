package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nameroute/nameroute/gateway"
)

const everyKey = `lan: [br-lan]
wan: eth0
wan_resolvers: [192.0.2.53, "[2001:db8::53]:5353", "192.0.2.1:53", "fe80::1%eth0"]
mask: 0x7f000000
exclude: [198.51.100.0/24, 2001:db8::1]
priority: 7100
set_size: 1024
lifetime: {floor: 30m, grace: 90s, ceiling: 12h}
check_interval: off
owner: off
redirect_dns: {except: [192.168.1.5, 9.9.9.0/24, "2620:fe::fe"], dot: reject}
routes:
  vpn:
    wireguard: /etc/wireguard/wg0.conf
    link: wg1
    on_down: wan
    mark: 0x51000000
    table: 7281
    priority: 7281
    mtu: 1420
    prefixes: [china, allowed_ips, mine]
    private: learn
    evict: true
    handshake_timeout: 20s
    handshake_limit: 45s
    handshake_probe: off
    snat: [192.0.2.7, "2001:db8::7"]
    hooks: ignore
    inbound: accept
  office:
    interface: tun0
    snat: masquerade
    probe: [ping 192.0.2.1, "tcp [2001:db8::1]:443", http https://cp.example/204 204, dns a.example., "dns a.example 192.0.2.53:5353"]
    every: 2s
    fails: 4
    good: 1
  isp2: {next_hop: [192.0.2.254, "fe80::fe"], interface: eth2, snat: off, mark: 1342177280}
lists:
  gfwlist: {file: /etc/nameroute/gfwlist.txt, format: autoproxy}
  mine: {file: mine.txt}
  china:
    url: [https://lists.example/china.conf, "http://192.0.2.9:8080/china.conf?raw=1"]
    format: dnsmasq
    select: cn@!ads
    every: 6h
    via: vpn
    resolvers: [192.0.2.53]
    signature: {key: RWQAAQIDBAUGBwABAgMEBQYHAAECAwQFBgcAAQIDBAUGBwABAgMEBQYH, url: https://lists.example/china.sig}
    headers: {Authorization: Bearer x, X-Box: "1"}
    timeout: 90s
    max_size: 8M
    min_entries: 1000
    max_shrink: 25%
    missing: fail
`

// equal compares addresses by ==, and ignores the positions of keys.
var equal = cmp.Options{
	cmpopts.IgnoreFields(gateway.Config{}, "Positions"),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func addrs(list ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

func TestEveryKeyIsRead(t *testing.T) {
	got, err := Parse("/etc/nameroute/gateway.yaml", []byte(everyKey))
	if err != nil {
		t.Fatal(err)
	}
	mark := func(v uint32) gateway.Mark { return gateway.Mark{Value: v, Mask: 0x7f000000} }
	office := gateway.HashNumber("office", gateway.DefaultMask)
	want := &gateway.Config{
		File: "/etc/nameroute/gateway.yaml", LAN: []string{"br-lan"}, WANLink: "eth0",
		WANResolvers: []netip.AddrPort{
			netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:5353"),
			netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[fe80::1%eth0]:53"),
		},
		Mask: 0x7f000000, Priority: 7100, SetSize: 1024, Owner: gateway.OwnerOff,
		Exclude: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::1/128")},
		Redirect: gateway.Redirect{On: true, RejectDoT: true, Except: []netip.Prefix{
			netip.MustParsePrefix("192.168.1.5/32"), netip.MustParsePrefix("9.9.9.0/24"), netip.MustParsePrefix("2620:fe::fe/128")}},
		Lifetime: gateway.Lifetime{Floor: 30 * time.Minute, Grace: 90 * time.Second, Ceiling: 12 * time.Hour},
		Routes: []gateway.Route{{
			Name: "vpn", Number: 0x51, Mark: mark(0x51000000), Table: 7281, Priority: 7281, MTU: 1420,
			Egress: gateway.Egress{Kind: gateway.EgressWireGuard, File: "/etc/wireguard/wg0.conf", Link: "wg1"},
			OnDown: gateway.FallBack, AllowedIPs: true, LearnPrivate: true, IgnoreHooks: true, Evict: true, AcceptInbound: true,
			Handshake: gateway.Handshake{Timeout: 20 * time.Second, Limit: 45 * time.Second},
			SNAT:      gateway.SNAT{Mode: gateway.SNATTo, Addrs: addrs("192.0.2.7", "2001:db8::7")}, Prefixes: []string{"china", "mine"},
		}, {
			Name: "office", Number: office, Mark: mark(uint32(office) << 24), Table: 7200 + office, Priority: 7100 + office,
			Egress: gateway.Egress{Kind: gateway.EgressInterface, Link: "tun0"}, OnDown: gateway.Block, SNAT: gateway.SNAT{Mode: gateway.SNATMasquerade},
			Probing: gateway.Probing{Every: 2 * time.Second, Fails: 4, Good: 1, Probes: []gateway.Probe{
				{Kind: gateway.ProbePing, Addr: netip.MustParseAddr("192.0.2.1")},
				{Kind: gateway.ProbeTCP, Addr: netip.MustParseAddr("2001:db8::1"), Port: 443},
				{Kind: gateway.ProbeHTTP, URL: "https://cp.example/204", Code: 204},
				{Kind: gateway.ProbeDNS, Name: "a.example"},
				{Kind: gateway.ProbeDNS, Name: "a.example", Addr: netip.MustParseAddr("192.0.2.53"), Port: 5353},
			}},
		}, {
			Name: "isp2", Number: 0x50, Mark: mark(0x50000000), Table: 7280, Priority: 7180,
			Egress: gateway.Egress{Kind: gateway.EgressNextHop, Link: "eth2", NextHops: addrs("192.0.2.254", "fe80::fe")},
			OnDown: gateway.Block, SNAT: gateway.SNAT{Mode: gateway.SNATOff},
		}},
		Lists: []gateway.List{
			{Name: "gfwlist", File: "/etc/nameroute/gfwlist.txt", Format: "autoproxy", Keep: 60},
			{Name: "mine", File: "/etc/nameroute/mine.txt", Keep: 60},
			{Name: "china", File: "/var/lib/nameroute/lists-fetched/china:cn@!ads", Format: "dnsmasq"},
		},
		Sources: []gateway.Source{{
			List: "china", URLs: []string{"https://lists.example/china.conf", "http://192.0.2.9:8080/china.conf?raw=1"},
			Select: "cn@!ads", Every: 6 * time.Hour, Via: "vpn", Resolvers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")},
			Signature: gateway.Signature{Key: "RWQAAQIDBAUGBwABAgMEBQYHAAECAwQFBgcAAQIDBAUGBwABAgMEBQYH", URL: "https://lists.example/china.sig"},
			Headers:   []gateway.Header{{Name: "Authorization", Value: "Bearer x"}, {Name: "X-Box", Value: "1"}},
			Timeout:   90 * time.Second, MaxSize: 8 << 20, MinEntries: 1000, MaxShrink: 25, Missing: gateway.MissingFail,
		}},
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDefaults(t *testing.T) {
	want := &gateway.Config{
		File: "/x/gateway.yaml", Mask: 0x7f000000, Priority: 7200, SetSize: 65536, Owner: "auto", CheckInterval: time.Minute,
		Lifetime: gateway.Lifetime{Floor: time.Hour, Grace: 10 * time.Minute, Ceiling: 24 * time.Hour},
	}
	for name, text := range map[string]string{
		"empty":           "",
		"comments":        "# nothing yet\n",
		"empty documents": "---\n---\n",
		"null":            "~\n",
		"byte order mark": "\ufeff# nothing\n",
		"keys without values": "lan:\nwan:\nwan_resolvers:\nmask:\nexclude:\npriority:\nset_size:\n" +
			"lifetime: {floor: , grace: ~, ceiling: null}\ncheck_interval:\nowner:\nroutes:\nlists:\n",
		"empty lists":   "lan: []\nwan: auto\nwan_resolvers: []\nexclude: []\nlifetime: {}\nroutes: {}\nlists: {}\n",
		"windows lines": "lan: []\r\nwan: auto\r\n",
		"one document":  "---\nwan: auto\n...\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse("/x/gateway.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, equal); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A route needs only its egress; every other key without a value is its default.
func TestDefaultsOfARoute(t *testing.T) {
	short, err := Parse("g.yaml", []byte("routes:\n  vpn:\n    wireguard: /etc/wireguard/wg0.conf\n"))
	if err != nil {
		t.Fatal(err)
	}
	long, err := Parse("g.yaml", []byte(`routes:
  vpn: {wireguard: /etc/wireguard/wg0.conf, link: , on_down: , mark: , table: , priority: , mtu: ,
        prefixes: , private: , snat: , handshake_timeout: , handshake_limit: , handshake_probe: , hooks: }`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(short, long, equal); diff != "" {
		t.Errorf("(-short +long)\n%s", diff)
	}
	n := gateway.HashNumber("vpn", gateway.DefaultMask)
	want := gateway.Route{
		Name: "vpn", Number: n, Mark: gateway.DefaultMask.Mark(n), Table: 7200 + n, Priority: 7200 + n, OnDown: gateway.Block,
		Egress: gateway.Egress{Kind: gateway.EgressWireGuard, File: "/etc/wireguard/wg0.conf", Link: "wg0"}, SNAT: gateway.SNAT{Mode: gateway.SNATAuto},
		Handshake: gateway.Handshake{Timeout: 30 * time.Second, Limit: 3 * time.Minute, Probe: 5 * time.Minute},
	}
	if diff := cmp.Diff(want, short.Routes[0], equal); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAnchorsAndAliases(t *testing.T) {
	c, err := Parse("g.yaml", []byte(`
routes:
  a: {wireguard: a.conf, on_down: &down wan, snat: &nat [192.0.2.1]}
  b: {interface: tun0, on_down: *down, snat: *nat}
`))
	if err != nil {
		t.Fatal(err)
	}
	b, ok := c.Route("b")
	if !ok || b.OnDown != gateway.FallBack || len(b.SNAT.Addrs) != 1 {
		t.Errorf("route b is %+v", b)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(filepath.Join(dir, "none.yaml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	file := filepath.Join(dir, "gateway.yaml")
	if err := os.WriteFile(file, []byte("lists: {mine: {file: ../mine.txt}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(dir), "mine.txt"); c.Lists[0].File != want {
		t.Errorf("file is %s, want %s", c.Lists[0].File, want)
	}
}

func TestNotesOnAllowedValues(t *testing.T) {
	c, err := Parse("gateway.yaml", []byte("routes:\n  a: {interface: tun0, mtu: 1279}\n  b: {interface: tun1, mtu: 1280}\n"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "gateway.yaml:2:29: routes.a.mtu: 1279: disables IPv6 on the route: want at least 1280"
	if got := c.Notes.Error(); got != want {
		t.Errorf("notes:\n%s\nwant:\n%s", got, want)
	}
}

// What only shows when a value is used is reported at the position of its key.
func TestProblemAtThePositionOfItsKey(t *testing.T) {
	c, err := Parse("gateway.yaml", []byte("lists:\n  mine:\n    file: mine.txt\n"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"lists.mine.file":   "gateway.yaml:3:11: lists.mine.file: why",
		"lists.mine.format": "gateway.yaml:2:3: lists.mine.format: why",
		"lists.x":           "gateway.yaml:2:3: lists.x: why",
		"wan":               "gateway.yaml: wan: why",
	} {
		if got := ProblemAt(c, key, "", "why", "").Error(); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}
