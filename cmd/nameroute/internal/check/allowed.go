package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/provider"
)

// internet is the space that addresses of names are in, by family.
var internet = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("2000::/3")}

// checkAllowed checks that a tunnel takes packets to every address of the internet.
// WireGuard drops those to addresses that are no peer's AllowedIPs.
func checkAllowed(route gateway.Route, conf *provider.Conf, r *report) {
	var allowed []netip.Prefix
	for _, p := range conf.Peers {
		allowed = append(allowed, p.AllowedIPs...)
	}
	for _, all := range internet {
		have := slices.DeleteFunc(slices.Clone(allowed), func(p netip.Prefix) bool { return p.Addr().Is4() != all.Addr().Is4() })
		if len(have) == 0 {
			continue // the route does not carry the family at all
		}
		gaps := uncovered(all, have)
		switch {
		case len(gaps) == 0:
		case route.TakesPrivate():
			r.ok("route %s: WireGuard takes packets to the AllowedIPs of %s alone: %s", route.Name, conf.File, some(have))
		default:
			r.warn("route %s: WireGuard drops packets to addresses that are not in the AllowedIPs of %s, such as %s: names with such an address are not reached: AllowedIPs = %s", route.Name, conf.File, some(gaps), everything(all))
		}
	}
}

// checkAllowedFamilies finds AllowedIPs that take the route and that the tunnel cannot carry,
// because it has no address of their family.
func checkAllowedFamilies(route gateway.Route, conf *provider.Conf, r *report) {
	for _, all := range internet {
		var allowed []netip.Prefix
		for _, peer := range conf.Peers {
			for _, p := range peer.AllowedIPs {
				if p.Addr().Is4() == all.Addr().Is4() {
					allowed = append(allowed, p)
				}
			}
		}
		if len(allowed) > 0 && !slices.ContainsFunc(conf.Addresses, func(p netip.Prefix) bool { return p.Addr().Is4() == all.Addr().Is4() }) {
			family := "IPv6"
			if all.Addr().Is4() {
				family = "IPv4"
			}
			r.warn("route %s: %s has no %s Address, so the tunnel carries no %s and what it is allowed of that is blocked: %s: add an Address", route.Name, conf.File, family, family, some(allowed))
		}
	}
}

func everything(all netip.Prefix) string {
	if all.Addr().Is4() {
		return "0.0.0.0/0"
	}
	return "::/0"
}

// uncovered returns what no prefix covers of a space, without special-use addresses.
func uncovered(space netip.Prefix, have []netip.Prefix) []netip.Prefix {
	overlaps := false
	for _, p := range have {
		if p.Bits() <= space.Bits() && p.Contains(space.Addr()) {
			return nil
		}
		overlaps = overlaps || p.Overlaps(space)
	}
	low, high := split(space)
	if !overlaps {
		if gateway.IsSpecial(space.Addr()) && (space.IsSingleIP() || gateway.IsSpecial(high.Addr()) && space.Bits() >= 3) {
			return nil
		}
		return []netip.Prefix{space}
	}
	return append(uncovered(low, have), uncovered(high, have)...)
}

// split splits a prefix. A single address has itself twice.
func split(p netip.Prefix) (low, high netip.Prefix) {
	if p.IsSingleIP() {
		return p, p
	}
	bytes := p.Addr().AsSlice()
	bytes[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	a, _ := netip.AddrFromSlice(bytes) // as long as it was
	return netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(a, p.Bits()+1)
}

// some prints the first prefixes of a list, and how many more there are.
func some(all []netip.Prefix) string {
	const most = 3
	var words []string
	for _, p := range all[:min(most, len(all))] {
		words = append(words, p.String())
	}
	text := strings.Join(words, ", ")
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
