package format

import (
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

const reasonWords = "more than one word: want one name a line, and # before a remark"

// uncommentPasted is uncomment for text from anywhere: a remark may also begin with // or ;
// after white space, or at the beginning of a line.
func uncommentPasted(line string) string {
	line = uncomment(line)
	for _, mark := range []string{"//", ";"} {
		if strings.HasPrefix(line, mark) {
			return ""
		}
		for _, space := range []string{" ", "\t"} {
			line, _, _ = strings.Cut(line, space+mark)
		}
	}
	return strings.TrimSpace(line)
}

// cutAttributes removes the attributes that exports of domain-list-community have behind a
// rule: domain:example.com:@cn,@ads.
func cutAttributes(text string) string {
	at := strings.LastIndex(text, ":@")
	if at < 0 {
		return text
	}
	for _, c := range []byte(text[at+1:]) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("@,!-_ ", c) >= 0) {
			return text
		}
	}
	return text[:at]
}

// pastedWords returns the words of a line with several, as lists in other programs have them:
// after a '-', in quotes, with commas.
func pastedWords(line string) []string {
	words := strings.FieldsFunc(line, func(c rune) bool { return c == ',' || c == ';' || c == ' ' || c == '\t' })
	if len(words) > 1 && words[0] == "-" {
		words = words[1:]
	}
	for i := range words {
		words[i] = strings.Trim(words[i], `"'`)
	}
	return words
}

// areRules reports whether all words are prefixes, or all are names with a dot in them: words
// of a sentence are not.
func areRules(words []string) bool {
	prefixes := 0
	for _, w := range words {
		if _, ok := entry.ParsePrefix(w); ok {
			prefixes++
			continue
		}
		if _, reason := entry.ParsePattern(w); reason != "" || !strings.Contains(strings.Trim(w, "."), ".") {
			return false
		}
	}
	return len(words) > 0 && (prefixes == 0 || prefixes == len(words))
}

// reasonPasted returns what to write instead of a URL, a path or a port, or "" if the text is
// none of them.
func reasonPasted(text string) string {
	what := "a path"
	if scheme, rest, ok := strings.Cut(text, "://"); ok && strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-") == "" {
		what, text = "a URL", rest
	} else if !strings.Contains(text, "/") {
		what = "a port"
	}
	host := text
	if end := strings.IndexAny(host, "/?"); end >= 0 {
		host = host[:end]
	}
	if _, after, ok := strings.Cut(host, "@"); ok {
		host = after
	}
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 && strings.Trim(host[colon+1:], "0123456789") == "" {
		host = host[:colon]
	}
	if host == text && what != "a URL" {
		return ""
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && what != "a path" {
		return what + ": want the address alone, " + a.String()
	}
	if e, reason := entry.ParsePattern(host); reason == "" && e.Kind != entry.Regexp {
		return what + ": want the name alone, " + e.Text
	}
	return ""
}
