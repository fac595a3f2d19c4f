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
// '#' begins a comment, on a line of its own or after a rule; so do '//' and ';'. Several
// names or prefixes may be on a line, with commas or spaces between them, each in quotes or
// not. The attributes of exports of domain-list-community are not used.
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
	if line = uncommentPasted(line); line == "" {
		s.Lines--
		return
	}
	line = cutAttributes(line)
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
		plainWords(line, s)
		return
	}
	if reason != "" {
		s.skip(line, reason)
		return
	}
	s.put(e)
}

// plainWords puts the names and prefixes of a line without a kind.
func plainWords(line string, s *Sink) {
	words := pastedWords(line)
	if len(words) > 1 && isHostsAddress(words[0]) && areRules(words[1:]) && !isPrefix(words[1]) {
		before := s.Size() + s.Skipped
		if hostsLine(line, s); s.Size()+s.Skipped == before {
			s.Lines-- // the names of the machine itself
		}
		return
	}
	if len(words) != 1 && !areRules(words) {
		s.skip(line, reasonWords)
		return
	}
	for _, word := range words {
		if p, ok := entry.ParsePrefix(word); ok {
			s.putPrefix(p)
			continue
		}
		e, reason := entry.ParsePattern(word)
		if reason == "" {
			s.put(e)
			continue
		}
		if instead := reasonPasted(word); instead != "" {
			reason = instead
		} else if strings.Contains(word, "/") {
			reason = entry.ReasonPrefix + ", and " + reason
		}
		s.skip(line, reason)
	}
}
