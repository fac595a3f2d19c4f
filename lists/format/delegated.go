package format

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format/ruleset"
)

// delegated is the prefixes of a country in the statistics of a regional registry (APNIC,
// RIPE NCC and the others), delegated-apnic-latest:CN:
//
//	apnic|CN|ipv4|192.0.2.0|256|20110414|allocated    an address and how many
//	apnic|CN|ipv6|2001:db8::|32|20110414|assigned     an address and a length
type delegated struct{}

const reasonDelegated = "not a line of a registry's statistics"

func (delegated) name() string { return "delegated" }

func (delegated) suits(file string) bool { return strings.HasPrefix(file, "delegated") }

func (delegated) sniff(head []byte) int {
	return countLines(head, func(line string) bool { return strings.Count(line, "|") >= 5 })
}

func (delegated) parse(r io.Reader, s *Sink) error {
	if s.selector == "" {
		return errors.New("it holds many countries: name one after a colon, FILE:CN")
	}
	known := map[string]bool{}
	found := false
	err := eachLine(r, s, "#", func(line string) {
		f := strings.Split(line, "|")
		if len(f) < 6 || f[len(f)-1] == "summary" || f[1] == "*" || isDigits(f[0]) {
			s.Lines--
			if len(f) < 6 {
				s.Lines++
				s.skip(line, reasonDelegated)
			}
			return
		}
		if f[1] != "" && len(f[1]) <= 3 && len(known) < 1000 {
			known[f[1]] = true
		}
		if !strings.EqualFold(f[1], s.selector) || f[2] == "asn" {
			s.Lines--
			return
		}
		found = true
		if !delegation(f[2], f[3], f[4], s) {
			s.skip(line, reasonDelegated)
		}
	})
	if err != nil || found {
		return err
	}
	var names []string
	for k := range known {
		names = append(names, k)
	}
	return fmt.Errorf("delegated: %w", ruleset.UnknownCategory(s.selector, names))
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789.") == "" }

func delegation(family, start, size string, s *Sink) bool {
	a, err := netip.ParseAddr(start)
	n, err2 := strconv.ParseUint(size, 10, 33)
	if err != nil || err2 != nil || a.Zone() != "" {
		return false
	}
	switch {
	case family == "ipv6" && a.Is6() && n <= 128:
		s.putPrefix(netip.PrefixFrom(a, int(n)))
		return true
	case family == "ipv4" && a.Is4() && n > 0:
		b := a.As4()
		last := uint64(b[0])<<24 + uint64(b[1])<<16 + uint64(b[2])<<8 + uint64(b[3]) + n - 1
		if last > 1<<32-1 {
			return false
		}
		return entry.EachPrefix(a, netip.AddrFrom4([4]byte{byte(last >> 24), byte(last >> 16), byte(last >> 8), byte(last)}), s.putPrefix)
	}
	return false
}
