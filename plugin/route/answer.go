package route

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

// noDataTTL is the negative TTL of a removed AAAA, in seconds. It is short because the
// route may get IPv6.
const noDataTTL = 60

// addresses appends what a client could connect to of an answer: A and AAAA of any section,
// and the hints of HTTPS and SVCB. It returns the longest TTL of their records.
func addresses(m *dns.Msg, nat64 []netip.Prefix, addrs []netip.Addr) ([]netip.Addr, time.Duration) {
	if m.Rcode != dns.RcodeSuccess {
		return addrs, 0
	}
	var ttl uint32
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			found := false
			switch rr := rr.(type) {
			case *dns.A:
				addrs, found = appendIP(addrs, rr.A, nat64)
			case *dns.AAAA:
				addrs, found = appendIP(addrs, rr.AAAA, nat64)
			case *dns.HTTPS:
				addrs, found = appendHints(addrs, rr.Value, nat64)
			case *dns.SVCB:
				addrs, found = appendHints(addrs, rr.Value, nat64)
			}
			if found {
				ttl = max(ttl, rr.Header().Ttl)
			}
		}
	}
	return addrs, time.Duration(ttl) * time.Second
}

func appendHints(addrs []netip.Addr, values []dns.SVCBKeyValue, nat64 []netip.Prefix) (_ []netip.Addr, found bool) {
	for _, v := range values {
		var hint []net.IP
		switch v := v.(type) {
		case *dns.SVCBIPv4Hint:
			hint = v.Hint
		case *dns.SVCBIPv6Hint:
			hint = v.Hint
		}
		for _, ip := range hint {
			var ok bool
			addrs, ok = appendIP(addrs, ip, nat64)
			found = found || ok
		}
	}
	return addrs, found
}

// appendIP appends an address once, and instead of a NAT64 one the IPv4 address inside it:
// packets to that are translated on this box or before it, and leave as IPv4. It reports
// whether ip is an address.
func appendIP(addrs []netip.Addr, ip net.IP, nat64 []netip.Prefix) (_ []netip.Addr, ok bool) {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return addrs, false
	}
	a = a.Unmap()
	for _, p := range nat64 {
		if p.Contains(a) {
			a = embedded(a, p.Bits())
			break
		}
	}
	if slices.Contains(addrs, a) {
		return addrs, true
	}
	return append(addrs, a), true
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

// withoutIPv6 removes what would let a client bypass a route without IPv6: AAAA records and
// IPv6 hints. Local addresses stay, which no route takes, and NAT64 ones, whose packets
// leave as IPv4. The answer to an AAAA query of which nothing is left is NODATA with an SOA
// and without the CNAME chain, which a client could follow to another resolver's AAAA.
func withoutIPv6(m *dns.Msg, nat64 []netip.Prefix) *dns.Msg {
	bypasses := func(rr dns.RR) bool { return bypassesRoute(rr, nat64) }
	if !slices.ContainsFunc(m.Answer, bypasses) && !slices.ContainsFunc(m.Extra, bypasses) && !slices.ContainsFunc(m.Ns, bypasses) {
		return m
	}
	m = m.Copy()
	m.AuthenticatedData = false // it differs from what was signed
	m.Answer, m.Ns, m.Extra = strip(m.Answer, nat64), strip(m.Ns, nat64), strip(m.Extra, nat64)
	hasAAAA := slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeAAAA })
	if len(m.Question) == 1 && m.Question[0].Qtype == dns.TypeAAAA && !hasAAAA {
		m.Answer = nil
		m.Ns = []dns.RR{reply.SOA(m.Question[0].Name, noDataTTL)}
	}
	return m
}

func strip(rrs []dns.RR, nat64 []netip.Prefix) []dns.RR {
	return slices.DeleteFunc(rrs, func(rr dns.RR) bool {
		if v := svcbValues(rr); v != nil {
			*v = slices.DeleteFunc(*v, isIPv6Hint)
			return false
		}
		return bypassesRoute(rr, nat64)
	})
}

// isIPv6Hint reports whether a parameter is to be removed: the hint itself, and a list of
// mandatory parameters in which it was the only one (RFC 9460 section 8).
func isIPv6Hint(kv dns.SVCBKeyValue) bool {
	if m, ok := kv.(*dns.SVCBMandatory); ok {
		m.Code = slices.DeleteFunc(m.Code, func(k dns.SVCBKey) bool { return k == dns.SVCB_IPV6HINT })
		return len(m.Code) == 0
	}
	return kv.Key() == dns.SVCB_IPV6HINT
}

// bypassesRoute reports whether a record has a global IPv6 address.
func bypassesRoute(rr dns.RR, nat64 []netip.Prefix) bool {
	if v := svcbValues(rr); v != nil {
		return slices.ContainsFunc(*v, func(kv dns.SVCBKeyValue) bool { return kv.Key() == dns.SVCB_IPV6HINT })
	}
	aaaa, ok := rr.(*dns.AAAA)
	if !ok {
		return false
	}
	a, ok := netip.AddrFromSlice(aaaa.AAAA)
	return ok && a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(nat64, func(p netip.Prefix) bool { return p.Contains(a) })
}

func svcbValues(rr dns.RR) *[]dns.SVCBKeyValue {
	switch rr := rr.(type) {
	case *dns.HTTPS:
		return &rr.Value
	case *dns.SVCB:
		return &rr.Value
	}
	return nil
}
