package firewall

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/gatewaytest"
)

var (
	addr          = netip.MustParseAddr
	prefixes      = gatewaytest.Prefixes
	route, config = gatewaytest.Route, gatewaytest.Config
	many          = gatewaytest.ManyPrefixes
)

// full is a spec with everything in it.
func full() Spec {
	vpn, office, shared := route("vpn", 0x51), route("office", 2), route("shared", 3)
	vpn.OnDown, vpn.Egress.Kind = gateway.FallBack, gateway.EgressWireGuard
	office.LearnPrivate = true
	office.Evict = true
	c := config(vpn, office, shared)
	c.Exclude = prefixes("9.9.9.0/24", "2620:fe::/48")
	return Spec{
		Config: c,
		Egress: map[string]Egress{
			"vpn":    {Links: []string{"wg0"}, Inbound: true, Source: Source{SNAT4: addr("10.2.0.2"), SNAT6: addr("fd00::2")}, MTU: 1420},
			"office": {Links: []string{"tun1", "tun0"}, Inbound: true, Source: Source{Masquerade: true}, MTU: 1400},
			"shared": {Links: []string{"br-lan"}, Source: Source{SNAT4: addr("192.168.1.1")}},
		},
		WANLinks: []string{"eth0"},
		Local:    prefixes("192.168.1.0/24", "192.168.2.0/24", "192.168.3.0/24", "203.0.113.5/32", "fd01::/64", "2001:db8::1/128"),
		Prefixes: map[string][]netip.Prefix{"vpn": prefixes("91.108.4.0/22", "91.108.8.0/22", "91.108.12.0/24", "2001:67c:4e8::/48"), "office": prefixes("10.9.0.0/16")},
		Listeners: []Listener{{Proto: "udp", Port: 53}, {Proto: "tcp", Port: 53},
			{Addr: addr("192.168.1.1"), Proto: "tcp", Port: 853}, {Addr: addr("fd01::1"), Proto: "udp", Port: 5353}},
	}
}

// redirecting is a spec with `redirect_dns` and our resolver on port 53.
func redirecting() Spec {
	s := Spec{Config: config(route("vpn", 1))}
	s.Config.Redirect = gateway.Redirect{On: true, RejectDoT: true, Except: prefixes("192.168.1.5/32", "9.9.9.9/32", "2620:fe::/48")}
	s.Listeners = []Listener{{Proto: "udp", Port: 53, DNS: true}, {Proto: "tcp", Port: 53, DNS: true}, {Proto: "tcp", Port: 853}}
	return s
}

// withClass has a class of clients with a route and listeners of its own.
func withClass() Spec {
	s := redirecting()
	s.Config.Clients = []gateway.Clients{{Name: "tv", MACs: []gateway.MAC{{0, 0, 0x5e, 0, 0x53, 1}}, Prefixes: prefixes("192.168.1.40/32", "fd00:1::/64"), Links: []string{"br-lan"}}}
	s.Config.Routes[0].Clients = []string{"tv"}
	port := gateway.ClassPort("tv", 53)
	s.Listeners = append(s.Listeners, Listener{Proto: "udp", Port: port, DNS: true, Class: "tv", For: 53}, Listener{Proto: "tcp", Port: port, DNS: true, Class: "tv", For: 53})
	return s
}

// withAllBy has a class of clients with a route for all they send.
func withAllBy(name string) *gateway.Config {
	cfg := config(route("vpn", 1))
	cfg.Clients = []gateway.Clients{{Name: "tv", Prefixes: prefixes("192.168.1.40/32"), Route: name}}
	return cfg
}

// withPrograms has classes of programs of the box: with a route for all they send, and without.
func withPrograms() Spec {
	s := Spec{Config: config(route("vpn", 1)), WANLinks: []string{"eth0"}, Egress: map[string]Egress{"vpn": {Links: []string{"wg0"}, Inbound: true, Source: Source{SNAT4: addr("10.2.0.2")}}}}
	s.Config.Clients = []gateway.Clients{
		{Name: "torrent", Users: []string{"debian-transmission"}, Route: "vpn"},
		{Name: "backup", Groups: []string{"backup"}, Cgroups: []string{"system.slice/restic.service"}, Route: gateway.WAN},
		{Name: "kodi", Users: []string{"kodi"}},
	}
	s.Config.Routes[0].Clients = []string{"kodi", "torrent"}
	s.Programs = map[string]gateway.Programs{
		"torrent": {UIDs: []uint32{106}}, "kodi": {UIDs: []uint32{1001}},
		"backup": {GIDs: []uint32{34}, Cgroups: []gateway.Cgroup{{Path: "system.slice/restic.service", ID: 7, Level: 2}}},
	}
	for _, class := range []string{"torrent", "kodi"} {
		for _, proto := range protocols {
			s.Listeners = append(s.Listeners, Listener{Proto: proto, Port: gateway.ClassPort(class, 53), DNS: true, Class: class, For: 53})
		}
	}
	return s
}

// withDefault has the first route as the default of clients and of the box.
func withDefault() Spec {
	s := full()
	cfg := *s.Config
	name := cfg.Routes[0].Name
	cfg.Default, cfg.WANTakes = gateway.Default{Clients: name, Box: name}, &gateway.WANTakes{}
	s.Config = &cfg
	return s
}

// TestGolden compares what a person has read and kept with what Desired makes.
func TestGolden(t *testing.T) {
	narrow := redirecting()
	narrow.Listeners = []Listener{{Addr: addr("192.168.1.1"), Proto: "udp", Port: 53, DNS: true}, {Addr: addr("fd00:1::1"), Proto: "tcp", Port: 5353, DNS: true}}
	for _, c := range []struct {
		file, from string // the table is compared from this line on
		spec       Spec
	}{
		{"full.nft", "table inet nameroute {", full()},
		{"redirect.nft", "\tchain dns_exempt {", redirecting()},
		{"narrow.nft", "\tchain dns_exempt {", narrow},
		{"clients.nft", "\tchain clients_tv {", withClass()},
		{"programs.nft", "\tchain programs_torrent {", withPrograms()},
		{"default.nft", "\tchain classify {", withDefault()},
	} {
		golden, err := os.ReadFile("testdata/" + c.file)
		if err != nil {
			t.Error(err)
		}
		_, got, _ := strings.Cut(Desired(c.spec).String(), c.from)
		if diff := cmp.Diff(string(golden), c.from+got); diff != "" {
			t.Errorf("-testdata/%s +Desired:\n%s", c.file, diff)
		}
	}
}

func TestDesired(t *testing.T) {
	vpn, office := route("vpn", 1), route("office", 2)
	fallback := vpn
	fallback.OnDown = gateway.FallBack
	narrowed := vpn
	narrowed.Match = &gateway.Match{Protocols: []uint8{gateway.ProtoTCP, 47}, Ports: []gateway.PortRange{{From: 80, To: 80}, {From: 400, To: 443}}}
	inbound := Egress{Links: []string{"wg0"}, Inbound: true}
	for _, c := range []struct {
		name      string
		spec      Spec
		has, lack []string
	}{
		{
			name: "a route is narrowed to protocols and ports",
			spec: Spec{Config: config(narrowed)},
			has: []string{
				`ip daddr @vpn4 tcp dport 80 meta mark set`, `ip6 daddr @vpn6p tcp dport 400-443 meta mark set`, `ip daddr @vpn4 meta l4proto 47 th dport 80`,
				`ip daddr @vpn4 tcp dport 80 goto only_via_vpn`,
			},
			lack: []string{`ip daddr @vpn4 meta mark`, `ip daddr @vpn4 goto`},
		},
		{
			name: "clients all of whose packets take one route, whatever their destination",
			spec: Spec{Config: withAllBy("vpn")},
			has: []string{
				`iif != 0 ip saddr 192.168.1.40 jump clients_tv`, `iif != 0 ip saddr 192.168.1.40 jump leaving_tv`, `iif != 0 ip saddr 192.168.1.40 jump local_tv`,
				"chain clients_tv {\n\t\tmeta mark set meta mark & 0x81ffffff | 0x01000000",
				"chain leaving_tv {\n\t\tgoto only_via_vpn",
				`iif != 0 ip saddr 192.168.1.40 ip daddr @exclude4 udp dport 53 drop comment "tv: no listener of its own"`,
			},
		},
		{
			name: "clients that are exempt from all routes",
			spec: Spec{Config: withAllBy(gateway.WAN)},
			has: []string{
				"chain clients_tv {\n\t\tmeta mark set meta mark | 0x7f000000",
				"chain leaving_tv {\n\t\taccept",
			},
		},
		{
			name: "a route without links yet is blocked",
			spec: Spec{Config: config(vpn)},
			has: []string{`meta mark & 0x7f000000 == 0x01000000 counter packets 0 bytes 0 drop comment "vpn: kill switch"`,
				`ct direction original ct label 1 meta mark set`,
				"chain only_via_vpn {\n\t\tct state related ip daddr @exclude4 accept"},
			lack: []string{"ct state new ct mark set", "snat ", "masquerade"},
		},
		{
			name: "with snat: off the box's own has the egress's address, and clients keep theirs",
			spec: Spec{Config: config(vpn, office), Egress: map[string]Egress{
				"vpn":    {Links: []string{"wg0"}, Inbound: true, Own: Source{SNAT4: addr("10.2.0.2")}},
				"office": {Links: []string{"tun0"}, Inbound: true, Own: Source{Masquerade: true}},
			}},
			has:  []string{`oifname "wg0" iif 0 fib saddr . oif type != local snat ip to 10.2.0.2`, `oifname "tun0" iif 0 fib saddr . oif type != local masquerade`, `oifname "wg0" iif 0 fib saddr . oif type != local ct state invalid drop`},
			lack: []string{`oifname "wg0" snat`, `oifname "tun0" masquerade`, `oifname "wg0" ct state invalid`},
		},
		{
			name: "down with on_down: block keeps the route's mark",
			spec: Spec{Config: config(vpn), Egress: map[string]Egress{"vpn": {Links: []string{"wg0"}, Down: true}}},
			has:  []string{`ip daddr @vpn4 meta mark set meta mark & 0x81ffffff | 0x01000000`},
			lack: []string{"by the wan"},
		},
		{
			name: "down with on_down: wan marks new flows for the WAN and keeps old ones closed",
			spec: Spec{Config: config(fallback), Egress: map[string]Egress{"vpn": {Links: []string{"wg0"}, Inbound: true, Down: true}}},
			has: []string{`ip daddr @vpn4 meta mark set meta mark | 0x7f000000 ct mark set ct mark | 0x7f000000 ct label set 127 accept comment "vpn: down, via wan"`,
				`ip6 daddr @vpn6p meta mark set meta mark | 0x7f000000`,
				`ip daddr @vpn4 accept comment "vpn: down, via wan"`,
				`ct label 1 meta mark set meta mark & 0x81ffffff | 0x01000000 ct mark set ct mark & 0x81ffffff | 0x01000000 accept`},
			lack: []string{`ip daddr @vpn4 meta mark set meta mark & 0x81ffffff`},
		},
		{
			name: "up with on_down: wan is by the route",
			spec: Spec{Config: config(fallback), Egress: map[string]Egress{"vpn": inbound}},
			has:  []string{`ip daddr @vpn4 meta mark set meta mark & 0x81ffffff | 0x01000000`},
		},
		{
			name: "without labels in conntrack a flow is known by its ct mark",
			spec: Spec{Config: config(vpn), NoLabels: true, NoSockets: true, NoFIB: true},
			has: []string{`ct direction original ct mark & 0x7f000000 == 0x01000000 goto only_via_vpn`,
				`meta mark & 0x7f000000 == 0x7f000000 accept comment "wan"`, `ip daddr @vpn4 goto only_via_vpn`},
			lack: []string{"ct label", "socket mark", "fib "},
		},
		{
			name: "a route whose number has no bit in the label",
			spec: Spec{Config: config(vpn, route("far", 127))},
			has:  []string{`ip daddr @far4 goto only_via_far`},
			lack: []string{"ct label"},
		},
		{
			name: "one interface for lan and the WAN is classified",
			spec: Spec{Config: config(vpn), WANLinks: []string{"br-lan"}},
			has:  []string{`ct direction original ct label 127`},
			lack: []string{`iifname "br-lan" ct state new`},
		},
		{
			name: "unknown MTUs and impossible ones clamp nothing",
			spec: Spec{Config: config(vpn, office), Egress: map[string]Egress{"vpn": inbound, "office": {Links: []string{"tun0"}, MTU: 60}}},
			has:  []string{`oifname "tun0" tcp flags syn / syn,rst tcp option maxseg size set 20`},
			lack: []string{`meta nfproto ipv6 oifname "tun0"`, `oifname "wg0" tcp`},
		},
		{
			name: "listeners: every address once, unknown protocols never",
			spec: Spec{Config: config(), Listeners: []Listener{
				{Addr: netip.IPv6Unspecified(), Proto: "udp", Port: 53}, {Addr: netip.IPv4Unspecified(), Proto: "udp", Port: 53},
				{Addr: addr("::ffff:192.0.2.1"), Proto: "tcp", Port: 53}, {Addr: addr("fe80::1%eth0"), Proto: "udp", Port: 53}, {Proto: "sctp", Port: 53}}},
			has: []string{"\t\tudp dport 53 counter packets 0 bytes 0 drop comment \"no open resolver\"\n" +
				"\t\tip daddr 192.0.2.1 tcp dport 53 counter packets 0 bytes 0 drop comment \"no open resolver\"\n" +
				"\t\tip6 daddr fe80::1 udp dport 53 counter packets 0 bytes 0 drop comment \"no open resolver\"\n\t}\n"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := Desired(c.spec).String()
			for _, s := range c.has {
				if !strings.Contains(text, s) {
					t.Errorf("lacks %q", s)
				}
			}
			for _, s := range c.lack {
				if strings.Contains(text, s) {
					t.Errorf("has %q", s)
				}
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}
