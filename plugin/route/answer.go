package route

import (
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/chain"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

// noDataTTL is the negative TTL of a removed AAAA, in seconds. It is short because the
// route may get IPv6.
const noDataTTL = 60

// addresses appends what a client could connect to of an answer that chain.Clean has seen:
// each address once, and instead of a NAT64 one the IPv4 address inside it, because packets
// to that are translated on this box or before it, and leave as IPv4. It returns the longest
// TTL of their records.
func addresses(m *dns.Msg, nat64 []netip.Prefix, addrs []netip.Addr) ([]netip.Addr, time.Duration) {
	var ttl uint32
	for _, rr := range m.Answer {
		n := len(addrs)
		if addrs = chain.AppendAddresses(addrs, rr); len(addrs) > n {
			ttl = max(ttl, rr.Header().Ttl)
		}
	}
	for i, a := range addrs {
		for _, p := range nat64 {
			if p.Contains(a) {
				addrs[i] = embedded(a, p.Bits())
				break
			}
		}
	}
	return distinct(addrs), time.Duration(ttl) * time.Second
}

// distinct removes duplicates, and sorts where there are more than a few.
func distinct(addrs []netip.Addr) []netip.Addr {
	if len(addrs) > 16 {
		slices.SortFunc(addrs, netip.Addr.Compare)
		return slices.Compact(addrs)
	}
	n := 0
	for _, a := range addrs {
		if !slices.Contains(addrs[:n], a) {
			addrs[n] = a
			n++
		}
	}
	return addrs[:n]
}

// embedded returns the IPv4 address inside a NAT64 one, which skips bits 64 to 71 (RFC 6052
// section 2.2).
func embedded(a netip.Addr, bits int) netip.Addr {
	b := a.As16()
	var v4 [4]byte
	for i, at := 0, bits/8; i < 4; at++ {
		if at == 8 && bits < 96 {
			continue
		}
		v4[i] = b[at]
		i++
	}
	return netip.AddrFrom4(v4)
}

// withoutIPv6 removes what would let a client bypass a route without IPv6: AAAA records,
// IPv6 hints and URIs with such an address. Local addresses stay, which no route takes, and
// NAT64 ones, whose packets leave as IPv4. The answer to an AAAA query of which nothing is
// left is NODATA with an SOA and without the CNAME chain, which a client could follow to
// another resolver's AAAA.
func withoutIPv6(m *dns.Msg, nat64 []netip.Prefix) *dns.Msg {
	if !slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return bypassesRoute(rr, nat64) }) {
		return m
	}
	out := *m
	out.AuthenticatedData = false // it differs from what was signed
	out.Answer = strip(m.Answer, nat64)
	hasAAAA := slices.ContainsFunc(out.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeAAAA })
	if len(m.Question) == 1 && m.Question[0].Qtype == dns.TypeAAAA && !hasAAAA {
		out.Answer = nil
		out.Ns = []dns.RR{reply.SOA(m.Question[0].Name, noDataTTL)}
	}
	return &out
}

func strip(records []dns.RR, nat64 []netip.Prefix) (kept []dns.RR) {
	for _, rr := range records {
		switch {
		case !bypassesRoute(rr, nat64):
			kept = append(kept, rr)
		case chain.Params(rr) != nil:
			params := slices.DeleteFunc(slices.Clone(chain.Params(rr)), isIPv6Hint)
			kept = append(kept, chain.WithParams(rr, params))
		}
	}
	return kept
}

func isIPv6Hint(kv dns.SVCBKeyValue) bool { return kv.Key() == dns.SVCB_IPV6HINT }

// bypassesRoute reports whether a record has a global IPv6 address, or any IPv6 hint.
func bypassesRoute(rr dns.RR, nat64 []netip.Prefix) bool {
	switch rr.(type) {
	case *dns.AAAA, *dns.URI, *dns.NAPTR:
		var buf [1]netip.Addr
		return slices.ContainsFunc(chain.AppendAddresses(buf[:0], rr), func(a netip.Addr) bool {
			return a.Is6() && a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(nat64, func(p netip.Prefix) bool { return p.Contains(a) })
		})
	}
	return slices.ContainsFunc(chain.Params(rr), isIPv6Hint)
}
