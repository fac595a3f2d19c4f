package listed

import (
	"net/netip"
	"strings"
)

// reversed reports whether a name is that of an address in reverse (in-addr.arpa, ip6.arpa)
// to which packets take the route of the block. Who asks for it has seen the address in use,
// so the query leaves as the packets do.
func (l *Listed) reversed(q string) bool {
	if l.route == nil {
		return false
	}
	a, ok := addressOf(q)
	return ok && l.route.Takes(a)
}

const (
	reverse4 = ".in-addr.arpa."
	reverse6 = ".ip6.arpa."
)

// addressOf returns the address of a name in reverse, in any case. It allocates nothing.
func addressOf(q string) (a netip.Addr, ok bool) {
	if labels, ok := cutSuffixFold(q, reverse4); ok {
		return reverseV4(labels)
	}
	if labels, ok := cutSuffixFold(q, reverse6); ok {
		return reverseV6(labels)
	}
	return a, false
}

func cutSuffixFold(s, suffix string) (before string, ok bool) {
	n := len(s) - len(suffix)
	if n <= 0 || !strings.EqualFold(s[n:], suffix) {
		return "", false
	}
	return s[:n], true
}

// reverseV4 reads 4.3.2.1 (RFC 1035 section 3.5).
func reverseV4(labels string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(labels)
	if err != nil || !a.Is4() {
		return netip.Addr{}, false
	}
	b := a.As4()
	return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}), true
}

// reverseV6 reads 32 nibbles, the last one first (RFC 3596 section 2.5).
func reverseV6(labels string) (netip.Addr, bool) {
	if len(labels) != 63 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i := range 32 {
		n := strings.IndexByte("0123456789abcdef", labels[2*i]|0x20)
		if labels[2*i] < 'A' {
			n = strings.IndexByte("0123456789", labels[2*i])
		}
		if n < 0 || i < 31 && labels[2*i+1] != '.' {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(n) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}
