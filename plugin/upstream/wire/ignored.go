package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// Ignored are the addresses that forged answers have, where another host on the way answers
// before the resolver does.
type Ignored []netip.Prefix

// ParseIgnored parses addresses and prefixes.
func ParseIgnored(args []string) (Ignored, error) {
	const usage = "want ignore 192.0.2.1 198.51.100.0/24 2001:db8::/32"
	if len(args) == 0 {
		return nil, errors.New(usage)
	}
	var all Ignored
	for _, arg := range args {
		p, err := netip.ParsePrefix(arg)
		if a, aerr := netip.ParseAddr(arg); aerr == nil && a.Zone() == "" {
			p, err = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a prefix: %s", arg, usage)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// In reports whether the answer section of a message, whose records begin at off, has one of
// the addresses.
func (g Ignored) In(msg []byte, off int) bool {
	if len(g) == 0 {
		return false
	}
	for range binary.BigEndian.Uint16(msg[6:]) {
		if off = skipName(msg, off); off < 0 || off+10 > len(msg) {
			return false
		}
		kind, n := binary.BigEndian.Uint16(msg[off:]), int(binary.BigEndian.Uint16(msg[off+8:]))
		if off += 10; off+n > len(msg) {
			return false
		}
		if a, ok := netip.AddrFromSlice(msg[off : off+n]); ok && (kind == dns.TypeA || kind == dns.TypeAAAA) && g.has(a.Unmap()) {
			return true
		}
		off += n
	}
	return false
}

func (g Ignored) has(a netip.Addr) bool {
	for _, p := range g {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
