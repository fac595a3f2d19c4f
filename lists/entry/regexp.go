package entry

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

const (
	// ReasonRegexp is why most texts are no regular expression of an entry.
	ReasonRegexp = "not a regular expression in RE2 syntax (which has no lookaround)"
	maxLiterals  = 32 // in a set of LiteralSets
	maxSets      = 16
)

// CheckRegexp returns the reason why a text cannot be a regular expression of an entry, or
// "".
func CheckRegexp(text string) string {
	if text == "" {
		return ReasonEmpty
	}
	re, err := CompileRegexp(text)
	if err != nil {
		return ReasonRegexp
	}
	if re.MatchString("") && re.MatchString("a-1.b_2") {
		return ReasonEveryName
	}
	return ""
}

// CompileRegexp compiles an expression without regard to case: names are compared in
// lower case.
func CompileRegexp(text string) (*regexp.Regexp, error) { return regexp.Compile("(?i)" + text) }

// Literals returns texts in lower case, at least one of which is in every name that the
// expression matches, or nil if there are none. Searching for them is cheap, and the
// expression itself need only be run for the names that contain one.
func Literals(text string) []string {
	var best []string
	for _, set := range LiteralSets(text) {
		if Shortest(set) > Shortest(best) {
			best = set
		}
	}
	return best
}

// LiteralSets returns sets of texts in lower case. Of each set, at least one text is in every
// name that the expression matches.
func LiteralSets(text string) [][]string {
	re, err := syntax.Parse("(?i)"+text, syntax.Perl)
	if err != nil {
		return nil
	}
	return required(re)
}

func required(re *syntax.Regexp) (sets [][]string) {
	switch re.Op {
	case syntax.OpLiteral:
		return [][]string{{strings.ToLower(string(re.Rune))}}
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if sets = append(sets, required(sub)...); len(sets) >= maxSets {
				break
			}
		}
	case syntax.OpAlternate:
		var all []string // the longest of each branch
		for _, sub := range re.Sub {
			var best []string
			for _, set := range required(sub) {
				if Shortest(set) > Shortest(best) {
					best = set
				}
			}
			if best == nil || len(all)+len(best) > maxLiterals {
				return nil
			}
			all = append(all, best...)
		}
		return [][]string{all}
	}
	return sets
}

// Shortest returns the length of the shortest text, 0 if there are none.
func Shortest(texts []string) int {
	if len(texts) == 0 {
		return 0
	}
	n := len(texts[0])
	for _, t := range texts {
		n = min(n, len(t))
	}
	return n
}
