package lists

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

const (
	reasonRegexp = "not a regular expression in RE2 syntax (which has no lookaround)"
	maxGuards    = 32 // alternatives that a guard may have
)

// checkRegexp returns the reason why an expression cannot be an entry, or "".
func checkRegexp(text string) string {
	if text == "" {
		return reasonEmpty
	}
	re, err := compileRegexp(text)
	if err != nil {
		return reasonRegexp
	}
	if re.MatchString("") && re.MatchString("a-1.b_2") {
		return reasonEveryName
	}
	return ""
}

// compileRegexp compiles an expression so that capitals in it match too: names are
// compared in lower case.
func compileRegexp(text string) (*regexp.Regexp, error) { return regexp.Compile("(?i)" + text) }

// guard returns texts of which every name that the expression finds holds at least
// one, in lower case. Looking for them is cheap, so that the expression itself is
// run for few names. nil says that there are none.
func guard(text string) []string {
	re, err := syntax.Parse("(?i)"+text, syntax.Perl)
	if err != nil {
		return nil
	}
	return required(re)
}

func required(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if r := required(sub); shortest(r) > shortest(best) {
				best = r
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			r := required(sub)
			if r == nil || len(all)+len(r) > maxGuards {
				return nil
			}
			all = append(all, r...)
		}
		return all
	}
	return nil
}

// shortest is the length of the shortest text; 0 where there is none.
func shortest(texts []string) int {
	if len(texts) == 0 {
		return 0
	}
	n := len(texts[0])
	for _, t := range texts {
		n = min(n, len(t))
	}
	return n
}
