package firewall

import (
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// maxRanges bounds the ranges of one interval set. A transaction on such a set takes time
// that grows with the set, however little it changes, and answers that have addresses to
// learn wait for it: on Linux 6.18, with 50,000 ranges, 7 ms of the processor's time,
// with these a quarter of one (BenchmarkIntervalSet).
const maxRanges = 8192

// region is a part of the address space and the ranges in it, cut at its ends.
type region struct {
	prefix netip.Prefix
	ranges []span.Range
}

// regions splits the merged ranges of one family into parts of at most limit each, by
// halving the address space wherever it holds more. A change then moves only what is in a
// half that became too large or small. Each address is in one part only.
func regions(all netip.Prefix, ranges []span.Range, limit int) []region {
	if len(ranges) == 0 {
		return nil
	}
	if len(ranges) <= limit {
		return []region{{all, ranges}}
	}
	low, high := split(all)
	at := 0 // the first range that reaches into the upper half
	for at < len(ranges) && ranges[at].To.Less(high.Addr()) {
		at++
	}
	below, above := ranges[:at:at], ranges[at:]
	if len(above) > 0 && above[0].From.Less(high.Addr()) { // it lies in both
		below = append(below, span.Range{From: above[0].From, To: high.Addr().Prev()})
		above = append([]span.Range{{From: high.Addr(), To: above[0].To}}, above[1:]...)
	}
	return append(regions(low, below, limit), regions(high, above, limit)...)
}

// split cuts a prefix in two.
func split(p netip.Prefix) (low, high netip.Prefix) {
	bits := p.Bits()
	b := p.Addr().AsSlice()
	b[bits/8] |= 0x80 >> (bits % 8)
	upper, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(p.Addr(), bits+1), netip.PrefixFrom(upper, bits+1)
}

// prefixSets returns the sets of a route's prefixes of one family: one set for a short
// list, which exists even while it is empty.
func prefixSets(name string, f gateway.Family, prefixes []netip.Prefix, limit int) []nft.Set {
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if f == gateway.V6 {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	var sets []nft.Set
	for _, r := range regions(all, span.Merge(prefixes, f), limit) {
		sets = append(sets, nft.Set{Name: regionSet(name, r.prefix), Family: f, Ranges: r.ranges})
	}
	if len(sets) == 0 {
		sets = []nft.Set{{Name: name, Family: f}}
	}
	return sets
}

// regionSet names the set of a region: vpn4p for all of it, vpn4p_64.0.0.0_2 and
// vpn6p_2400.._9 for parts, as nft(8) takes no colons in names.
func regionSet(full string, p netip.Prefix) string {
	if p.Bits() == 0 {
		return full
	}
	return full + "_" + strings.NewReplacer(":", ".", "/", "_").Replace(p.String())
}
