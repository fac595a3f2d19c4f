package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// key reads 32 bytes of base64. The value is never shown, whatever it is.
func (p *parser) key(s setting, to *wgtypes.Key, tool string) bool {
	k, err := wgtypes.ParseKey(withoutSpace(s.value))
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

// port reads a port of UDP, by number or by the name of its service.
func (p *parser) port(s setting) int {
	if n, ok := portNumber(s.value); ok {
		return int(n)
	}
	return p.number(s, 0, 65535)
}

// portNumber reads a port as getaddrinfo(3) does, with which wg(8) reads it.
func portNumber(text string) (uint16, bool) {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil {
		return uint16(n), true
	}
	if text == "" || text[0] < 'A' {
		return 0, false
	}
	n, err := net.DefaultResolver.LookupPort(context.Background(), "udp", text) // reads /etc/services
	return uint16(n), err == nil
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

// prefixes reads a list of addresses, each with or without a length. As wg(8)
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
		domain := strings.TrimPrefix(word, "~") // systemd-resolved's sign for domains that are no suffixes
		switch {
		case err == nil && a.Zone() == "":
			p.conf.DNS = append(p.conf.DNS, a.Unmap())
		case word == "~.":
			p.conf.Ignored = append(p.conf.Ignored, p.note(s, "~. is not used: which names take the route is for lists to say"))
		case isHostName(domain) && !looksNumeric(domain):
			p.conf.SearchDomains = append(p.conf.SearchDomains, domain)
		default:
			p.problem(s, show(s.key, word), "not a resolver", "want a resolver's address or a search domain")
		}
	}
}

func (p *parser) endpoint(s setting, to *Endpoint) {
	const want = "want host:port, such as vpn.example.net:51820, 192.0.2.1:51820 or [2001:db8::1]:51820"
	value := withoutSpace(s.value)
	colon := strings.LastIndexByte(value, ':')
	if colon < 0 {
		p.problem(s, show(s.key, s.value), "not an endpoint", want)
		return
	}
	host, service := value[:colon], value[colon+1:]
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok {
			host = ""
		}
	}
	port, ok := portNumber(service)
	a, err := netip.ParseAddr(host)
	switch {
	case err == nil && a.Zone() != "":
		p.problem(s, show(s.key, s.value), "an address of one link, which WireGuard's interface to the kernel cannot carry",
			"want the server's name, or an address that is reached from everywhere")
	case !ok || port == 0 || err != nil && (!isHostName(host) || looksNumeric(host)):
		p.problem(s, show(s.key, s.value), "not an endpoint", want)
	default:
		*to = Endpoint{host, port}
	}
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

// splitList splits a list at commas and white space, as wg-quick(8) does.
func splitList(value string) []string {
	return strings.FieldsFunc(value, func(c rune) bool { return c == ',' || unicode.IsSpace(c) })
}

// withoutSpace removes all white space, as wg(8) does within a line.
func withoutSpace(text string) string { return strings.Join(strings.Fields(text), "") }
