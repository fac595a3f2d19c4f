package leases

import (
	"net/netip"
	"slices"
	"strings"
)

// maxLabel is the length of a label (RFC 1035 section 2.3.4).
const maxLabel = 63

// reserved lists names that no client may claim: special-use names (RFC 6761, RFC 6762,
// RFC 7686, RFC 9476), and names that would make it a proxy or router for other clients
// (WPAD; ISATAP, RFC 5214 section 8.3.2).
var reserved = []string{"wpad", "isatap", "localhost", "localdomain", "local", "invalid", "test", "onion", "alt", "arpa", "example", "internal"}

// labelOf returns the label for a client that sends hostname, or "" if it may not have
// that name. The hostname may include the domain, but no other domain.
func labelOf(hostname, suffix string) string {
	h := strings.TrimSuffix(strings.ToLower(hostname), ".") // Kea writes names with and without the dot
	if label, ok := strings.CutSuffix(h+".", suffix); ok {
		h = label
	}
	if len(h) == 0 || len(h) > maxLabel || slices.Contains(reserved, h) || "."+h+"." == suffix {
		return ""
	}
	// Letters, digits and hyphens (RFC 1123 section 2.1), and the underscore, which
	// dnsmasq also accepts: many small devices use it.
	for i := range len(h) {
		c := h[i]
		inner := i > 0 && i < len(h)-1
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || inner && (c == '-' || c == '_')) {
			return ""
		}
	}
	return h
}

const (
	reverse4 = ".in-addr.arpa."
	reverse6 = ".ip6.arpa."
)

// addressOf returns the address of a reverse name in lower case (RFC 1035 section 3.5,
// RFC 3596 section 2.5). It does not allocate.
func addressOf(qname string) (netip.Addr, bool) {
	if digits, ok := strings.CutSuffix(qname, reverse4); ok {
		return address4(digits)
	}
	if nibbles, ok := strings.CutSuffix(qname, reverse6); ok {
		return address6(nibbles)
	}
	return netip.Addr{}, false
}

func address4(digits string) (netip.Addr, bool) {
	var b [4]byte
	for i := 3; i >= 0; i-- {
		label, rest, more := strings.Cut(digits, ".")
		n := 0
		for j := range len(label) {
			if label[j] < '0' || label[j] > '9' {
				return netip.Addr{}, false
			}
			n = 10*n + int(label[j]-'0')
		}
		if len(label) == 0 || len(label) > 3 || n > 255 || len(label) > 1 && label[0] == '0' || more != (i > 0) {
			return netip.Addr{}, false
		}
		b[i], digits = byte(n), rest
	}
	return netip.AddrFrom4(b), true
}

func address6(nibbles string) (netip.Addr, bool) {
	var b [16]byte
	if len(nibbles) != 63 {
		return netip.Addr{}, false
	}
	for i := range 32 {
		c := nibbles[2*i]
		switch {
		case i < 31 && nibbles[2*i+1] != '.':
			return netip.Addr{}, false
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return netip.Addr{}, false
		}
		b[15-i/2] |= c << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}
