package lists

import (
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// plain is one rule a line:
//
//	example.com         the name and all below it; also written domain:, . or +.
//	*.example.com       names below it only
//	full:example.com    the name alone
//	keyword:text        names that contain the text
//	regexp:expression   names in which the expression (RE2) is found
//	192.0.2.0/24        a prefix, or a single address
//
// '#' begins a comment, on a line of its own or after a rule.
type plain struct{}

const reasonPrefix = "not a prefix"

func (plain) name() string      { return "plain" }
func (plain) suits(string) bool { return false }

// sniff counts what other formats have seldom, so that a stray line of theirs does
// not turn a plain list into one of them.
func (plain) sniff(head []byte) int {
	return countLines(head, func(line string) bool {
		line = uncomment(line)
		for _, kind := range []string{"full:", "domain:", "keyword:", "regexp:"} {
			if strings.HasPrefix(line, kind) {
				return true
			}
		}
		if _, ok := prefix(line); ok {
			return true
		}
		_, reason := entry.ParsePattern(line)
		return reason == "" && strings.Contains(line, ".")
	})
}

func (plain) parse(r io.Reader, s *sink) error {
	return eachLine(r, s, "#", func(line string) { plainRule(line, s) })
}

func plainRule(line string, s *sink) {
	line = uncomment(line)
	kind, text, found := strings.Cut(line, ":")
	text = strings.TrimSpace(text)
	var e entry.Entry
	var reason string
	switch {
	case found && kind == "regexp":
		e = entry.Entry{Kind: entry.Regexp, Text: text}
		reason = entry.CheckRegexp(text)
	case found && kind == "keyword":
		e = entry.Entry{Kind: entry.Keyword, Text: strings.ToLower(text)}
		reason = entry.CheckKeyword(e.Text)
	case found && kind == "full":
		e.Kind = entry.Full
		e.Text, reason = entry.CanonicalName(text)
	case found && kind == "domain":
		e, reason = entry.ParsePattern(text)
	default:
		if p, ok := prefix(line); ok {
			s.entryPrefix(p)
			return
		}
		if e, reason = entry.ParsePattern(line); reason != "" && strings.Contains(line, "/") {
			reason = reasonPrefix + ", and " + reason
		}
	}
	if reason != "" {
		s.skip(line, reason)
		return
	}
	s.entry(e)
}

// prefix reads an address or a prefix. Addresses with a zone mean one machine's
// link and are none.
func prefix(s string) (netip.Prefix, bool) {
	// Lists are long and mostly names: what ends in no digit is IPv6 or nothing.
	if s == "" || (s[len(s)-1] < '0' || s[len(s)-1] > '9') && strings.IndexByte(s, ':') < 0 {
		return netip.Prefix{}, false
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}
