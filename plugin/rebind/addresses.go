package rebind

import "net/netip"

var (
	// local holds the special-purpose prefixes of RFC 6890 and its registries that are
	// not globally reachable.
	local = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
		"255.255.255.255/32",
		"::/128", "::1/128", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "fec0::/10", // RFC 8215, RFC 4193, RFC 4291, RFC 3879
	)
	loopback = prefixes("127.0.0.0/8", "::1/128")

	// IPv6 prefixes whose addresses embed an IPv4 address.
	wellKnown  = netip.MustParsePrefix("64:ff9b::/96")    // NAT64, RFC 6052 section 2.1
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291 section 2.5.5.1
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765 section 2.1
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056 section 2
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380 section 4
)

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, p := range all {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}

// isPrivate reports whether an address, or the IPv4 address embedded in it, is not
// globally reachable or in a `block` prefix.
func (b *Rebind) isPrivate(a netip.Addr) bool {
	a = a.Unmap() // ::ffff:0:0/96
	if b.localhostOK && contains(loopback, a) {
		return false
	}
	if contains(local, a) || contains(b.block, a) {
		return true
	}
	inner, ok := embeddedIPv4(a)
	return ok && b.isPrivate(inner)
}

func contains(all []netip.Prefix, a netip.Addr) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// embeddedIPv4 returns the IPv4 address embedded in an IPv6 one, if any.
func embeddedIPv4(a netip.Addr) (netip.Addr, bool) {
	if a.Is4() {
		return netip.Addr{}, false
	}
	x := a.As16()
	switch {
	case wellKnown.Contains(a), compatible.Contains(a), translated.Contains(a):
		return netip.AddrFrom4([4]byte(x[12:])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(x[2:6])), true
	case teredo.Contains(a): // the client's address, inverted
		return netip.AddrFrom4([4]byte{^x[12], ^x[13], ^x[14], ^x[15]}), true
	}
	return netip.Addr{}, false
}
