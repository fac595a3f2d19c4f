package format

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/lists/format/ruleset"
)

// geoip is a country of v2fly's geoip.dat, geoip.dat:cn: prefixes only.
type geoip struct{}

const reasonCIDR = "not an address with a length that fits"

func (geoip) name() string { return "geoip" }

func (geoip) suits(file string) bool { return strings.HasPrefix(file, "geoip") }

func (geoip) sniff(head []byte) int { return allIf(ruleset.IsGeoIP(head), head) }

func (geoip) parse(r io.Reader, s *Sink) error {
	if s.selector == "" {
		return errors.New("it holds many countries: name one after a colon, FILE:cn")
	}
	return ruleset.ReadGeoIP(r, s.selector, func(ip []byte, bits uint64) {
		s.line++
		s.Lines++
		a, ok := netip.AddrFromSlice(ip)
		if !ok || bits > uint64(a.BitLen()) {
			s.skip(fmt.Sprintf("%x/%d", ip, bits), reasonCIDR)
			return
		}
		p := netip.PrefixFrom(a, int(bits))
		s.text = p.String()
		s.putPrefix(p)
	})
}
