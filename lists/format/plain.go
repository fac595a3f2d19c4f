package format

import (
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// plain is nameroute's own format, one rule a line:
//
//	example.com         the name and all below it; also written domain:, . or +.
//	*.example.com       names below it only
//	full:example.com    the name alone
//	keyword:text        names that contain the text
//	regexp:expression   names that the expression (RE2) matches somewhere
//	192.0.2.0/24        a prefix, or a single address
//
// '#' begins a comment, on a line of its own or after a rule.
type plain struct{}

func (plain) name() string      { return "plain" }
func (plain) suits(string) bool { return false }

// sniff counts lines that are rare in other formats: a stray line of theirs does not turn a
// plain list into one of them.
func (plain) sniff(head []byte) int {
	return countLines(head, func(line string) bool {
		line = uncomment(line)
		for _, kind := range []string{"full:", "domain:", "keyword:", "regexp:"} {
			if strings.HasPrefix(line, kind) {
				return true
			}
		}
		if _, ok := entry.ParsePrefix(line); ok {
			return true
		}
		_, reason := entry.ParsePattern(line)
		return reason == "" && strings.Contains(line, ".")
	})
}

func (plain) parse(r io.Reader, s *Sink) error {
	return eachLine(r, s, "#", func(line string) { plainRule(line, s) })
}

func plainRule(line string, s *Sink) {
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
		if p, ok := entry.ParsePrefix(line); ok {
			s.putPrefix(p)
			return
		}
		if e, reason = entry.ParsePattern(line); reason != "" && strings.Contains(line, "/") {
			reason = entry.ReasonPrefix + ", and " + reason
		}
	}
	if reason != "" {
		s.skip(line, reason)
		return
	}
	s.put(e)
}
