package lists

import (
	"regexp"
	"strings"
)

// glob turns a name with a '*' inside a label (cdn*.example.com, *-a.example.com)
// into a regular expression. A '*' stands for any run of characters, dots too. An
// open glob begins at any label, so that names below match as well; a closed one
// begins where the name begins.
func glob(pattern string, open bool) (expr, reason string) {
	pattern = strings.ToLower(strings.TrimSuffix(pattern, "."))
	fixed := 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case isNameByte(c):
			fixed++
		case c != '*' && c != '.':
			return "", reasonChar
		}
	}
	if fixed == 0 {
		return "", reasonEveryName
	}
	if len(pattern) > maxName {
		return "", reasonLong
	}
	var b strings.Builder
	switch {
	case strings.HasPrefix(pattern, "*"):
		pattern = strings.TrimLeft(pattern, "*") // the search is not anchored
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

// pattern reads what a user writes for a set of names: name, .name, *.name, +.name,
// or a name with other wildcards.
//
//	example.com     the name and all below it
//	.example.com    the same, as dnsmasq, Surge and Squid read it
//	+.example.com   the same, as Clash writes it
//	*.example.com   names below only, of any depth, as AdGuard, smartdns and dnsmasq read it
//	a*.example.com  any run of characters for the star, and all below
func pattern(s string) (e Entry, reason string) {
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
		expr, reason := glob(s, true)
		return Entry{Kind: Regexp, Text: expr}, reason
	}
	if s == "" {
		return Entry{}, reasonEveryName
	}
	name, reason := canonical(s)
	return Entry{Kind: kind, Text: name}, reason
}
