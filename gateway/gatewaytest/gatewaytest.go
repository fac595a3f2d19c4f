// Package gatewaytest has values of package gateway for tests.
package gatewaytest

import (
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
)

// Mask is the mask of Route and Config.
const Mask = gateway.DefaultMask

// Route is a route with the kill switch.
func Route(name string, number int) gateway.Route {
	return gateway.Route{Name: name, Number: number, Mark: Mask.Mark(number), OnDown: gateway.Block,
		Table: gateway.DefaultTable + number, Priority: gateway.DefaultPriority + number}
}

// Config is a configuration with these routes.
func Config(routes ...gateway.Route) *gateway.Config {
	return &gateway.Config{LAN: []string{"br-lan"}, Routes: routes, Mask: Mask, Priority: gateway.DefaultPriority,
		SetSize: gateway.DefaultSetSize, Owner: gateway.OwnerAuto}
}

// Addrs parses addresses.
func Addrs(s ...string) (as []netip.Addr) {
	for _, a := range s {
		as = append(as, netip.MustParseAddr(a))
	}
	return as
}

// Prefixes parses prefixes.
func Prefixes(s ...string) (ps []netip.Prefix) {
	for _, p := range s {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

// ManyPrefixes are n prefixes that neither touch nor overlap, half of each family.
func ManyPrefixes(n int) []netip.Prefix {
	out := make([]netip.Prefix, 0, n)
	for i := range n / 2 {
		v4 := netip.AddrFrom4([4]byte{byte(20 + i>>15), byte(i >> 7), byte(i << 1), 0})
		v6 := netip.AddrFrom16([16]byte{0x24, 0, byte(i >> 15), byte(i >> 7), byte(i << 1)})
		out = append(out, netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 40))
	}
	return out
}
