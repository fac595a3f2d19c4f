package format

import (
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// nftset is prefixes as they are loaded into firewalls:
//
//	add element inet fw4 chnroute { 192.0.2.0/24, 198.51.100.1-198.51.100.9 }
//	elements = { 192.0.2.0/24,               also over several lines
//	             2001:db8::/32 timeout 1h }
//	add chnroute 192.0.2.0/24                as `ipset save` and `ipset restore` write it
//
// Lines that only create tables and sets are ignored.
type nftset struct{}

const reasonNFT = "not an element, prefix or range"

func (nftset) name() string { return "nftset" }

func (nftset) suits(file string) bool {
	return strings.HasSuffix(file, ".nftset") || strings.HasSuffix(file, ".nft") || strings.HasSuffix(file, ".ipset")
}

func (nftset) sniff(head []byte) int {
	return countLines(head, func(line string) bool {
		return strings.HasPrefix(line, "add element ") || strings.HasPrefix(line, "elements = {") || isNFTPreamble(line) || isIPSet(line)
	})
}

// isNFTPreamble reports whether a line creates what elements are added to.
func isNFTPreamble(line string) bool {
	for _, begin := range []string{
		"add table ", "add set ", "create table ", "create set ", "delete set ", "flush set ", "flush table ", "define ",
		"table ", "set ", "type ipv", "flags ", "auto-merge", "size ", "timeout ", "gc-interval ", "#!", "create ", "flush ",
	} {
		if strings.HasPrefix(line, begin) {
			return !strings.Contains(line, "elements")
		}
	}
	return false
}

func isIPSet(line string) bool {
	f := strings.Fields(line)
	return len(f) >= 3 && (f[0] == "add" || f[0] == "-A") && isPrefix(f[2])
}

func (nftset) parse(r io.Reader, s *Sink) error {
	inside := false // braces whose end is on a later line
	return eachLine(r, s, "#", func(line string) {
		line = uncomment(line)
		switch {
		case inside:
			inside = elements(line, s)
		case isIPSet(line):
			p, _ := entry.ParsePrefix(strings.Fields(line)[2])
			s.putPrefix(p)
		case isNFTPreamble(line), line == "}", line == "COMMIT":
			s.Lines--
		default:
			if open := strings.IndexByte(line, '{'); open >= 0 && strings.Contains(line[:open], "element") {
				inside = elements(line[open+1:], s)
				return
			}
			s.skip(line, reasonNFT)
		}
	})
}

// elements reads the text between braces. more means that they are still open.
func elements(text string, s *Sink) (more bool) {
	text, _, closed := strings.Cut(text, "}")
	if strings.Trim(text, ", \t") == "" {
		s.Lines-- // empty braces, or the last of several lines
		return !closed
	}
	for element := range strings.SplitSeq(text, ",") {
		value, _ := cutSpace(strings.TrimSpace(element)) // timeouts and comments follow
		if value == "" {
			continue
		}
		if first, last, ok := strings.Cut(value, "-"); ok {
			a, err := netip.ParseAddr(first)
			b, err2 := netip.ParseAddr(last)
			if err == nil && err2 == nil && a.Zone()+b.Zone() == "" && entry.EachPrefix(a, b, s.putPrefix) {
				continue
			}
			s.skip(value, entry.ReasonRange)
		} else if p, ok := entry.ParsePrefix(value); ok {
			s.putPrefix(p)
		} else {
			s.skip(value, reasonNFT)
		}
	}
	return !closed
}
