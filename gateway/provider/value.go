package provider

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// key reads 32 bytes of base64. The value is never shown, whatever it is.
func (p *parser) key(s setting, to *wgtypes.Key, tool string) bool {
	k, err := wgtypes.ParseKey(s.value)
	if err != nil || k == (wgtypes.Key{}) {
		p.problem(s, "", "not a WireGuard key", "want 44 characters of base64, as `"+tool+"` prints them")
		return false
	}
	*to = k
	return true
}

func (p *parser) number(s setting, low, high int) int {
	n, err := strconv.Atoi(s.value)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		p.problem(s, show(s.key, s.value), "not a whole number", fmt.Sprintf("want a number from %d to %d", low, high))
	case err != nil || n < low || n > high:
		p.problem(s, show(s.key, s.value), "out of range", fmt.Sprintf("want %d to %d", low, high))
	default:
		return n
	}
	return 0
}

func (p *parser) fwMark(s setting) {
	if strings.EqualFold(s.value, "off") {
		return
	}
	if _, err := strconv.ParseUint(s.value, 0, 32); err != nil {
		p.problem(s, show(s.key, s.value), "not a mark", "want off or a number, such as 51820 or 0xca6c")
	}
}

func (p *parser) keepalive(s setting, peer *Peer) {
	if strings.EqualFold(s.value, "off") {
		peer.Keepalive = KeepaliveOff
		return
	}
	n, err := strconv.ParseUint(s.value, 10, 16)
	switch {
	case err != nil:
		p.problem(s, show(s.key, s.value), "not an interval", "want off or seconds from 0 to 65535")
	case n == 0:
		peer.Keepalive = KeepaliveOff
	default:
		peer.Keepalive = time.Duration(n) * time.Second
	}
}

// prefixes reads a comma list of addresses, each with or without a length. As wg(8)
// does, it clears the host bits of networks and keeps those of interface addresses.
func (p *parser) prefixes(s setting, network bool) []netip.Prefix {
	var out []netip.Prefix
	for _, word := range splitList(s.value) {
		prefix, err := parsePrefix(word)
		if err != nil {
			p.problem(s, show(s.key, word), "not a prefix", "want an address with its length, such as 10.2.0.2/32 or fd00::2/128")
			continue
		}
		if network {
			prefix = prefix.Masked()
		}
		if !slices.Contains(out, prefix) {
			out = append(out, prefix)
		}
	}
	return out
}

func parsePrefix(word string) (netip.Prefix, error) {
	if !strings.Contains(word, "/") {
		a, err := netip.ParseAddr(word)
		if err != nil {
			return netip.Prefix{}, err
		}
		word = fmt.Sprintf("%s/%d", a, a.BitLen()) // ParsePrefix then refuses a zone
	}
	prefix, err := netip.ParsePrefix(word)
	if err == nil && prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%s: IPv4 in IPv6", word)
	}
	return prefix, err
}

// dns reads resolvers; as for wg-quick(8), words that are no addresses are search
// domains.
func (p *parser) dns(s setting) {
	for _, word := range splitList(s.value) {
		a, err := netip.ParseAddr(word)
		switch {
		case err == nil && a.Zone() == "":
			p.conf.DNS = append(p.conf.DNS, a.Unmap())
		case isHostName(word) && !looksNumeric(word):
			p.conf.SearchDomains = append(p.conf.SearchDomains, word)
		default:
			p.problem(s, show(s.key, word), "not a resolver", "want a resolver's address or a search domain")
		}
	}
}

func (p *parser) endpoint(s setting, to *Endpoint) {
	const want = "want host:port, such as vpn.example.net:51820, 192.0.2.1:51820 or [2001:db8::1]:51820"
	colon := strings.LastIndexByte(s.value, ':')
	if colon < 0 {
		p.problem(s, show(s.key, s.value), "not an endpoint", want)
		return
	}
	host, digits := s.value[:colon], s.value[colon+1:]
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 || !isEndpointHost(host) {
		p.problem(s, show(s.key, s.value), "not an endpoint", want)
		return
	}
	*to = Endpoint{strings.Trim(host, "[]"), uint16(port)}
}

// isEndpointHost accepts an IPv4 address, an IPv6 address in brackets, or a name.
func isEndpointHost(host string) bool {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		return ok && err == nil && a.Is6() && a.Zone() == ""
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Is4()
	}
	return isHostName(host) && !looksNumeric(host)
}

// isHostName checks the shape of RFC 1035 section 2.3.4, and allows the underscore
// that real names have.
func isHostName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, hostChars) != "" {
			return false
		}
	}
	return true
}

const hostChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// looksNumeric tells a mistyped IPv4 address from a name: no top-level domain is
// all digits (RFC 3696 section 2).
func looksNumeric(name string) bool {
	name = strings.TrimSuffix(name, ".")
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") == ""
}

// splitList splits a comma list and skips empty words, as wg(8) does.
func splitList(value string) []string {
	var out []string
	for word := range strings.SplitSeq(value, ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, word)
		}
	}
	return out
}
