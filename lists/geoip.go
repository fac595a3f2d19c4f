package lists

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// geoip is a country of v2fly's geoip.dat, geoip.dat:cn: prefixes only.
type geoip struct{}

const reasonCIDR = "not an address with a length that fits"

func (geoip) name() string { return "geoip" }

func (geoip) suits(file string) bool { return strings.HasPrefix(file, "geoip") }

func (geoip) sniff(head []byte) int { return sniffDat(head, 0x0a) }

func (geoip) parse(r io.Reader, s *sink) error {
	if s.selector == "" {
		return errors.New("it holds many countries: name one behind a colon, FILE:cn")
	}
	err := eachInCategory(bufio.NewReaderSize(r, sniffed), s.selector, func(m []byte) error {
		var ip []byte
		var bits uint64
		if err := eachField(m, func(n protowire.Number, t protowire.Type, v uint64, b []byte) {
			switch {
			case n == 1 && t == protowire.BytesType:
				ip = b
			case n == 2 && t == protowire.VarintType:
				bits = v
			}
		}); err != nil {
			return err
		}
		s.line++
		s.report.Lines++
		a, ok := netip.AddrFromSlice(ip)
		if !ok || bits > uint64(a.BitLen()) {
			s.skip(fmt.Sprintf("%x/%d", ip, bits), reasonCIDR)
			return nil
		}
		p := netip.PrefixFrom(a, int(bits))
		s.text = p.String()
		s.entryPrefix(p)
		return nil
	}, func(p *protoReader, n protowire.Number, t protowire.Type) error {
		if n != 3 || t != protowire.VarintType {
			return p.skip(t)
		}
		if v, err := p.varint(); err != nil || v == 0 {
			return err
		}
		return errors.New("the country means all addresses but its own, which a list of prefixes cannot say")
	})
	if err != nil {
		return fmt.Errorf("geoip: %w", err)
	}
	return nil
}
