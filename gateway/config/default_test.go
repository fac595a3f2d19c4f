package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

const twoRoutes = "routes:\n  vpn: {interface: tun0}\n  us: {interface: tun1}\n"

// The default routes of clients and of the box, and the place of the WAN among the routes.
func TestDefault(t *testing.T) {
	for text, want := range map[string]struct {
		clients, box string
		order        string
	}{
		twoRoutes:                                         {"", "", "vpn us"},
		"default: wan\n" + twoRoutes:                      {"", "", "vpn us"},
		"default: vpn\n" + twoRoutes:                      {"vpn", "vpn", "wan vpn us"},
		twoRoutes + "default: {clients: us}\n":            {"us", "", "wan vpn us"},
		twoRoutes + "default: {clients: wan, box: vpn}\n": {"", "vpn", "wan vpn us"},
		"lists: {cn: {file: cn}}\ndefault: us\n" + twoRoutes + "  wan: {prefixes: [cn]}": {"us", "us", "vpn us wan"},
		twoRoutes + "  wan: {}\n":                      {"", "", "vpn us wan"},
		"wan: [eth0, eth1]\ndefault: us\n" + twoRoutes: {"us", "us", "wan vpn us"},
	} {
		c, err := Parse("gateway.yaml", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var order []string
		for _, r := range c.Choices() {
			order = append(order, r.Name)
		}
		if got := (gateway.Default{Clients: want.clients, Box: want.box}); c.Default != got || strings.Join(order, " ") != want.order {
			t.Errorf("%q: %+v, in this order: %v; want %+v", text, c.Default, order, want)
		}
		again, err := Parse("gateway.yaml", []byte(YAML(c)))
		if err != nil || again.Default != c.Default || !slices.EqualFunc(again.Choices(), c.Choices(), func(a, b gateway.Route) bool { return a.Name == b.Name && slices.Equal(a.Prefixes, b.Prefixes) }) {
			t.Errorf("%q: printed as\n%s\nwhich reads as another one: %v", text, YAML(c), err)
		}
	}
}

// A default route that cannot be one is named with its place.
func TestWrongDefaults(t *testing.T) {
	for text, want := range map[string]string{
		twoRoutes + "default: vpm":                      "gateway.yaml:4:10: default: vpm: unknown route: did you mean vpn?",
		twoRoutes + "default: {clients: vpn, box: zzz}": "gateway.yaml:4:30: default.box: zzz: unknown route: want wan, vpn or us",
		twoRoutes + "default: {clint: vpn}":             "gateway.yaml:4:11: default.clint: unknown key: want clients or box",
		twoRoutes + "default: [vpn]":                    "gateway.yaml:4:10: default: is a list: want the name of a route, or {clients: ROUTE, box: ROUTE}",
		"lan: [l]\nclients: {tv: {interface: l}}\nroutes:\n  us: {interface: tun1, clients: [tv]}\ndefault: us": "gateway.yaml:5:10: default: us: the route is for some clients only: want one without clients:",
		"routes:\n  wan: {interface: x}":            "gateway.yaml:2:9: routes.wan.interface: unknown key: want prefixes",
		"routes:\n  wan: {prefixes: [cn]}":          "gateway.yaml:2:20: routes.wan.prefixes: cn: unknown list: add it to lists",
		"routes:\n  wan: {prefixes: [allowed_ips]}": "gateway.yaml:2:19: routes.wan.prefixes: allowed_ips: the WAN has no peers: want names of lists",
	} {
		if _, err := Parse("gateway.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n%v\nwant\n%s", text, err, want)
		}
	}
}
