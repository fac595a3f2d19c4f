package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a route is narrowed to, as it is printed.
func TestMatch(t *testing.T) {
	for text, want := range map[string]string{
		"{proto: tcp, ports: [80, 443]}": "tcp 80,443",
		"{ports: [53, 8000-8999]}":       "tcp,udp 53,8000-8999",
		"{proto: [udp, 47]}":             "udp,47",
		"{proto: 132, ports: 5}":         "132 5",
	} {
		c, err := Parse("gateway.yaml", []byte("routes:\n  vpn: {interface: tun0, match: "+text+"}\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := c.Routes[0].Match.String(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		again, err := Parse("gateway.yaml", []byte(YAML(c)))
		if err != nil || cmp.Diff(c.Routes[0].Match, again.Routes[0].Match) != "" {
			t.Errorf("%s: printed as\n%s\nwhich reads as another one: %v", text, YAML(c), err)
		}
	}
}

// A match that is none is named with its place.
func TestWrongMatches(t *testing.T) {
	const at = "gateway.yaml:1:"
	for text, want := range map[string]string{
		"{}":                       at + "40: routes.vpn.match: matches nothing: want {proto: tcp, ports: [80, 443]}",
		"{proto: tpc}":             at + "48: routes.vpn.match.proto: tpc: not a protocol: want tcp, udp, a protocol number, or a list of them",
		"{proto: 256}":             at + "48: routes.vpn.match.proto: 256: not a protocol",
		"{ports: [0]}":             at + "49: routes.vpn.match.ports: 0: not a port or a range of ports: want ports and ranges, such as [443, 8000-8999]",
		"{ports: [9-8]}":           at + "49: routes.vpn.match.ports: 9-8: not a port",
		"{ports: [65536]}":         at + "49: routes.vpn.match.ports: 65536: not a port",
		"{ports: [5, 1-9]}":        at + "52: routes.vpn.match.ports: 1-9: is there already",
		"{proto: 47, ports: [80]}": at + "59: routes.vpn.match.ports: protocol 47 has no ports: want it in a route of its own",
		"{ports: [" + strings.Repeat("1, ", 33) + "2]}": at + "48: routes.vpn.match.ports: 34 ports and ranges: want at most 32",
		"{port: 80}": at + "41: routes.vpn.match.port: unknown key: did you mean ports?",
	} {
		_, err := Parse("gateway.yaml", []byte("routes: {vpn: {interface: tun0, match: "+text+"}}"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n%v\nwant\n%s", text, err, want)
		}
	}
	_, err := Parse("gateway.yaml", []byte("default: vpn\nroutes: {vpn: {interface: tun0, match: {proto: tcp}}}"))
	if want := "gateway.yaml:1:10: default: vpn: the route takes tcp only: want one without match:"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant\n%s", err, want)
	}
}
