// Package entry holds what a list consists of: entries on names. It knows which texts are
// names, keywords, expressions and patterns, and neither how lists are written nor how
// they are searched.
package entry

import (
	"regexp"
	"strings"
)

// Kind says which names an entry matches.
type Kind uint8

const (
	Suffix  Kind = iota // the name and every name below it
	Below               // every name below it, but not the name itself
	Full                // the name alone
	Keyword             // every name that contains the text
	Regexp              // every name in which the expression, in RE2 syntax, is found
)

// String returns the kind as users write it.
func (k Kind) String() string {
	return [...]string{"suffix", "below", "full", "keyword", "regexp"}[k]
}

// Exception says whether an entry adds names to its list or removes them, and what it
// takes precedence over.
type Exception uint8

const (
	// NoException adds names to the list.
	NoException Exception = iota
	// Always removes names whatever else the list says: AutoProxy's @@.
	Always
	// Specific removes names unless an entry on a longer name adds them: dnsmasq's
	// server=/name/#, which takes precedence over server=/name/ADDRESS. It also takes
	// precedence over keywords and regular expressions.
	Specific
	// Insist adds names whatever exceptions say: AdGuard's $important.
	Insist
)

// Removes reports whether an entry removes names from its list.
func (x Exception) Removes() bool { return x == Always || x == Specific }

// Entry is one rule of a list.
type Entry struct {
	Kind      Kind
	Exception Exception
	// Text is a canonical name (lower case, ASCII, no trailing dot), a keyword in
	// lower case, or a regular expression. Names are compared in lower case and
	// without a trailing dot.
	Text string
}

// Matcher returns a function that reports whether the entry matches a canonical name,
// whether it adds or removes it.
func (e Entry) Matcher() func(name string) bool {
	below := func(name string) bool {
		return len(name) > len(e.Text) && strings.HasSuffix(name, e.Text) && name[len(name)-len(e.Text)-1] == '.'
	}
	switch e.Kind {
	case Suffix:
		return func(name string) bool { return name == e.Text || below(name) }
	case Below:
		return below
	case Full:
		return func(name string) bool { return name == e.Text }
	case Keyword:
		return func(name string) bool { return strings.Contains(name, e.Text) }
	}
	var re *regexp.Regexp
	return func(name string) bool {
		if re == nil {
			var err error
			if re, err = CompileRegexp(e.Text); err != nil {
				return false // formats skip expressions that do not compile
			}
		}
		return re.MatchString(name)
	}
}
