package entry

import (
	"regexp"
	"strings"
)

// Glob converts a name with a '*' inside a label (cdn*.example.com, *-a.example.com)
// into a regular expression. A '*' matches any run of characters, dots too. An open
// glob also matches the names below; a closed one matches from the first label on.
func Glob(pattern string, open bool) (expr, reason string) {
	pattern = strings.ToLower(strings.TrimSuffix(pattern, "."))
	fixed := 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case isNameByte(c):
			fixed++
		case c != '*' && c != '.':
			return "", ReasonChar
		}
	}
	if fixed == 0 {
		return "", ReasonEveryName
	}
	if len(pattern) > MaxName {
		return "", ReasonLong
	}
	var b strings.Builder
	switch {
	case strings.HasPrefix(pattern, "*"):
		pattern = strings.TrimLeft(pattern, "*") // expressions are not anchored
	case open:
		b.WriteString(`(?:^|\.)`)
	default:
		b.WriteString(`^`)
	}
	for i, part := range strings.Split(pattern, "*") {
		if i > 0 {
			b.WriteString(".*")
		}
		b.WriteString(regexp.QuoteMeta(part))
	}
	b.WriteString("$")
	return b.String(), ""
}

// ParsePattern parses what users write for a set of names: name, .name, *.name, +.name,
// or a name with other wildcards. A reason other than "" says why it is none.
//
//	example.com     the name and all below it
//	.example.com    the same, as dnsmasq, Surge and Squid read it
//	+.example.com   the same, as Clash writes it
//	*.example.com   names below only, of any depth, as AdGuard, smartdns and dnsmasq read it
//	a*.example.com  any run of characters for the star, and all below
func ParsePattern(s string) (e Entry, reason string) {
	kind := Suffix
	switch {
	case strings.HasPrefix(s, "*."):
		kind, s = Below, s[2:]
	case strings.HasPrefix(s, "+."):
		s = s[2:]
	case strings.HasPrefix(s, "."):
		s = s[1:]
	}
	if strings.Contains(s, "*") {
		if kind == Below { // *.a*.example.com
			s = "*." + s
		}
		expr, reason := Glob(s, true)
		return Entry{Kind: Regexp, Text: expr}, reason
	}
	if s == "" {
		return Entry{}, ReasonEveryName
	}
	name, reason := CanonicalName(s)
	return Entry{Kind: kind, Text: name}, reason
}
