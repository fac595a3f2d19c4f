package format

import (
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// clash is the rule-providers of Clash and mihomo, of behaviour domain, ipcidr or
// classical, as YAML (under payload:) or as text. The behaviour is detected rule by rule:
//
//	+.example.com             the name and all below it
//	.example.com              names below only
//	*.example.com             names one level below only
//	example.com               the name alone
//	192.0.2.0/24              a prefix
//	DOMAIN,example.com        the name alone
//	DOMAIN-SUFFIX,example.com the name and all below it
//	DOMAIN-KEYWORD,text       DOMAIN-REGEX,expression   DOMAIN-WILDCARD,*.example.com
//	IP-CIDR,192.0.2.0/24      IP-CIDR6 too; what follows (no-resolve) is not used
//
// Other classical rules are about processes, ports and sources; they are skipped.
type clash struct{}

const (
	reasonClash     = "a rule that is not about names or destination addresses"
	reasonClashList = "rules in brackets: write one per line, after '-'"
	reasonKey       = "not a rule: only what follows payload: is read"
)

func (clash) name() string { return "clash" }

func (clash) suits(file string) bool {
	return strings.HasSuffix(file, ".yaml") || strings.HasSuffix(file, ".yml")
}

func (clash) sniff(head []byte) int {
	strong, weak := 0, 0
	for line := range strings.Lines(string(head)) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		kind, _, classical := strings.Cut(line, ",")
		switch {
		case strings.HasPrefix(line, "payload:"):
			return len(head)
		case classical && isClassical(kind), strings.HasPrefix(line, "+."):
			strong++
		case classical && strings.ToUpper(kind) == kind:
			weak++
		default:
			if _, reason := entry.ParsePattern(line); reason == "" || isPrefix(line) {
				weak++
			}
		}
	}
	if strong == 0 {
		return 0
	}
	return strong + weak
}

func isPrefix(s string) bool {
	_, ok := entry.ParsePrefix(s)
	return ok
}

func isClassical(kind string) bool {
	return strings.HasPrefix(kind, "DOMAIN") || strings.HasPrefix(kind, "IP-CIDR")
}

func (clash) parse(r io.Reader, s *Sink) error {
	return eachLine(r, s, "#", func(line string) {
		if line == "---" || line == "..." {
			s.Lines--
			return
		}
		if clashPayload(line, s) {
			return
		}
		rule := line
		if line[0] == '-' && (len(line) == 1 || line[1] == ' ' || line[1] == '\t') {
			rule = strings.TrimSpace(line[1:])
		}
		clashRule(unquote(uncomment(rule)), s)
	})
}

// clashPayload reports whether a line is the key that rules follow. With rules on the same
// line it is skipped.
func clashPayload(line string, s *Sink) bool {
	value, ok := strings.CutPrefix(line, "payload:")
	if !ok {
		return false
	}
	switch value = strings.TrimSpace(uncomment(value)); {
	case value == "" || value == "[]" || value[0] == '#':
		s.Lines-- // it holds no rule
	default:
		s.skip(line, reasonClashList)
	}
	return true
}

// unquote returns a YAML scalar without its quotes.
func unquote(v string) string {
	if len(v) < 2 || v[0] != v[len(v)-1] {
		return v
	}
	switch v[0] {
	case '\'':
		return strings.ReplaceAll(v[1:len(v)-1], "''", "'")
	case '"':
		return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(v[1 : len(v)-1])
	}
	return v
}

func clashRule(rule string, s *Sink) {
	kind, text, classical := strings.Cut(rule, ",")
	if !classical {
		clashDomain(rule, s)
		return
	}
	if kind != "DOMAIN-REGEX" { // an expression may contain commas
		text, _, _ = strings.Cut(text, ",")
	}
	text = strings.TrimSpace(text)
	switch strings.TrimSpace(kind) {
	case "DOMAIN":
		s.putTyped(entry.Full, text)
	case "DOMAIN-SUFFIX":
		s.putTyped(entry.Suffix, strings.TrimPrefix(text, "."))
	case "DOMAIN-KEYWORD":
		s.putTyped(entry.Keyword, text)
	case "DOMAIN-REGEX":
		s.putTyped(entry.Regexp, text)
	case "DOMAIN-WILDCARD":
		wildcard(text, s)
	case "IP-CIDR", "IP-CIDR6":
		if p, ok := entry.ParsePrefix(text); ok {
			s.putPrefix(p)
			return
		}
		s.skip(rule, entry.ReasonPrefix)
	default:
		s.skip(rule, reasonClash)
	}
}

// wildcard puts a name in which '*' matches any run of characters. '?', which matches one, is
// not supported.
func wildcard(text string, s *Sink) {
	expr, reason := entry.Glob(text, false)
	if strings.Contains(text, "?") || reason != "" {
		s.skip(text, reasonClash)
		return
	}
	s.putTyped(entry.Regexp, expr)
}

// clashDomain puts a rule of behaviour domain or ipcidr.
func clashDomain(rule string, s *Sink) {
	if p, ok := entry.ParsePrefix(rule); ok {
		s.putPrefix(p)
		return
	}
	switch {
	case strings.HasPrefix(rule, "+."):
		s.putTyped(entry.Suffix, rule[2:])
	case strings.HasPrefix(rule, ".") && !strings.Contains(rule, "*"):
		s.putTyped(entry.Below, rule[1:])
	case strings.Contains(rule, "*"):
		oneLabel(rule, s)
	case strings.HasSuffix(rule, ":"):
		s.skip(rule, reasonKey)
	default:
		s.putTyped(entry.Full, rule)
	}
}

// oneLabel puts a name in which each '*' matches one label.
func oneLabel(rule string, s *Sink) {
	parts := strings.Split(strings.ToLower(strings.TrimSuffix(rule, ".")), ".")
	fixed := false
	for i, p := range parts {
		switch {
		case p == "*":
			parts[i] = "[^.]+"
		case p == "" && i == 0: // .*.example.com
			parts[i] = `.+`
		default:
			name, reason := entry.CanonicalName(p + ".x")
			if reason != "" {
				s.skip(rule, reason)
				return
			}
			parts[i], fixed = strings.TrimSuffix(name, ".x"), true
		}
	}
	if !fixed {
		s.skip(rule, entry.ReasonEveryName)
		return
	}
	s.put(entry.Entry{Kind: entry.Regexp, Text: "^" + strings.Join(parts, `\.`) + "$"})
}
