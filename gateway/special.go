package gateway

import (
	"net/netip"
	"slices"
)

// specialUse is what is never learned and never rerouted, except by routes with
// `private: learn`: the blocks that IANA's special-purpose address registries
// (RFC 6890 and its successors) mark as not globally reachable, and multicast.
//
// Blocks that the registries mark as globally reachable, or as neither (Teredo
// 2001::/32, 6to4 2002::/16), are not here, nor is the well-known NAT64 prefix
// 64:ff9b::/96: they can be the address of a server on the internet, and packets to one
// that a listed name answers with must not leave by the WAN. For the same reason
// 2001::/23 is not here as a whole, but only its blocks that are surely local.
var specialUse = [...]string{
	"0.0.0.0/8",         // this network, RFC 791
	"10.0.0.0/8",        // private use, RFC 1918
	"100.64.0.0/10",     // shared address space of carrier-grade NAT, RFC 6598
	"127.0.0.0/8",       // loopback, RFC 1122
	"169.254.0.0/16",    // link local, RFC 3927
	"172.16.0.0/12",     // private use, RFC 1918
	"192.0.0.0/24",      // IETF protocol assignments, RFC 6890
	"192.0.2.0/24",      // documentation, RFC 5737
	"192.168.0.0/16",    // private use, RFC 1918
	"198.18.0.0/15",     // benchmarking, RFC 2544
	"198.51.100.0/24",   // documentation, RFC 5737
	"203.0.113.0/24",    // documentation, RFC 5737
	"224.0.0.0/4",       // multicast, RFC 5771
	"240.0.0.0/4",       // reserved, and limited broadcast, RFC 1112 and RFC 919
	"::/128",            // unspecified, RFC 4291
	"::1/128",           // loopback, RFC 4291
	"::ffff:0.0.0.0/96", // IPv4-mapped, RFC 4291
	"64:ff9b:1::/48",    // NAT64 inside one network, RFC 8215
	"100::/64",          // discard only, RFC 6666
	"100:0:0:1::/64",    // dummy prefix, RFC 9780
	"2001:2::/48",       // benchmarking, RFC 5180
	"2001:10::/28",      // ORCHID, ended, RFC 4843
	"2001:db8::/32",     // documentation, RFC 3849
	"3fff::/20",         // documentation, RFC 9637
	"5f00::/16",         // segment routing SIDs, RFC 9602
	"fc00::/7",          // unique local, RFC 4193
	"fe80::/10",         // link local, RFC 4291
	"ff00::/8",          // multicast, RFC 4291
}

// specialPrefixes is specialUse, parsed.
var specialPrefixes = parsePrefixes(specialUse[:]...)

// linkScoped is the part of specialUse that means something on one link or box only.
var linkScoped = parsePrefixes("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32", "::1/128", "fe80::/10", "ff00::/8")

func parsePrefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// SpecialUse returns the prefixes of both families that are for special use.
func SpecialUse() []netip.Prefix { return slices.Clone(specialPrefixes) }

// LinkScoped returns the part of SpecialUse that no route takes, not even with
// `private: learn`: neighbour discovery (RFC 4861) is packets to link-local and multicast
// addresses, and a list with ::/0 on it, or an answer, would end it.
func LinkScoped() []netip.Prefix { return slices.Clone(linkScoped) }

// IsSpecial reports whether an address is for special use: never learned and never
// rerouted, except by routes with `private: learn`. An IPv4-mapped address counts
// as the IPv4 address in it.
func IsSpecial(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(specialPrefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// IsSpecialPrefix reports whether every address of a prefix is for special use.
func IsSpecialPrefix(p netip.Prefix) bool {
	return slices.ContainsFunc(specialPrefixes, func(s netip.Prefix) bool {
		return s.Bits() <= p.Bits() && s.Contains(p.Addr())
	})
}
