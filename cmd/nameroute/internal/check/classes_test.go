package check

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/testbox"
	"github.com/nameroute/nameroute/gateway"
)

// Classes that miss packets of their clients are told, and what guests reach beside routes.
func TestClassesAreChecked(t *testing.T) {
	m := machine{testbox.New(t)}
	m.NFT(strings.ReplaceAll(testbox.Masquerade, "} }", "}\n}"))
	m.IP("link add guest0 type bridge", "addr add 192.168.8.1/24 dev guest0", "addr add fd00:8::1/64 dev guest0 nodad", "link set guest0 up",
		"addr add fd00:7::1/64 dev br-lan nodad")
	const reach = "ok       clients.guests: guest0 reaches br-lan, as far as the firewall goes: for guests: nft insert rule inet filter forward iifname guest0 oifname br-lan drop"
	for _, c := range []struct {
		class gateway.Clients
		want  []string
	}{
		{gateway.Clients{Name: "both", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.7.40/32"), netip.MustParsePrefix("fd00:7::40/128")}}, nil},
		{gateway.Clients{Name: "half", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.7.40/32")}},
			[]string{"warning  clients.half: no prefix of it is IPv6, and clients on br-lan, guest0 have IPv6: such packets and queries of its clients are everybody's: add their addresses, or use mac:"}},
		{gateway.Clients{Name: "program", Groups: []string{"mesh-vpn"}, Route: gateway.WAN}, nil},
		{gateway.Clients{Name: "tv", MACs: []gateway.MAC{{0, 0, 0x5e, 0, 0x53, 1}}, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.7.40/32")}}, nil},
		{gateway.Clients{Name: "phone", MACs: []gateway.MAC{{2, 0, 0x5e, 0, 0x53, 1}}},
			[]string{"ok       clients.phone: 02:00:5e:00:53:01 was not given by a manufacturer: a client that draws an address for each network has it only as long as it draws no other"}},
		{gateway.Clients{Name: "guests", Links: []string{"guest0"}}, []string{reach}},
	} {
		cfg := parsed(t, "")
		cfg.LAN = append(cfg.LAN, "guest0")
		cfg.Clients = []gateway.Clients{c.class}
		got := slices.DeleteFunc(m.findings(cfg), func(l string) bool { return !strings.Contains(l, "clients.") })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.class.Name, got, c.want)
		}
	}
	m.NFT("table inet filter { chain forward { type filter hook forward priority 0; iifname guest0 oifname br-lan drop\n}\n}")
	cfg := parsed(t, "")
	cfg.LAN, cfg.Clients = append(cfg.LAN, "guest0"), []gateway.Clients{{Name: "guests", Links: []string{"guest0"}}}
	if got := m.findings(cfg); slices.Contains(got, reach) {
		t.Errorf("the firewall drops what guests send to the LAN, and it is still told: %q", got)
	}
}
