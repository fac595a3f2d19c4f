package format

import (
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

const (
	reasonURLRegexp = "a regular expression on URLs that does not identify a host"
	minGuard        = 3 // bytes of literal text that identify a host
)

// urlRegexp converts a regular expression on URLs into one on hosts. It must begin with the
// scheme; what follows the slash after the host is not used.
func urlRegexp(expr string, excepted bool) (e entry.Entry, reason string) {
	expr = strings.ReplaceAll(expr, `\/`, "/")
	var rest string
	for _, scheme := range []string{"^https?://", "^http://", "^https://", "^http(s)?://", "^(http|https)://"} {
		if r, ok := strings.CutPrefix(expr, scheme); ok {
			rest = r
			break
		}
	}
	if rest == "" {
		return e, reasonURLRegexp
	}
	host, path, ok := cutRegexp(rest)
	if !ok {
		return e, reasonURLRegexp
	}
	if excepted && path != "" {
		return e, reasonPathExcept
	}
	text := "^(?:" + host + ")"
	if len(host) < len(rest) {
		text += "$"
	}
	if reason := entry.CheckRegexp(text); reason != "" {
		return e, reason
	}
	if literals := entry.Literals(text); entry.Shortest(literals) < minGuard {
		return e, reasonURLRegexp
	}
	return entry.Entry{Kind: entry.Regexp, Text: text}, ""
}

// cutRegexp cuts an expression at the first slash outside a class. It returns false if that
// slash is inside a group.
func cutRegexp(s string) (host, path string, ok bool) {
	class, depth := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '/':
			return s[:i], s[i+1:], depth == 0
		}
	}
	return s, "", true
}
