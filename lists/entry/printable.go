package entry

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPrintable is how much of a text Printable returns, in bytes.
const MaxPrintable = 80

// Printable returns a text from a list as messages quote it: bounded, valid UTF-8, without
// control characters.
func Printable(s string) string {
	if len(s) > MaxPrintable {
		s = s[:MaxPrintable]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if r, _ := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && len(s) > 0 {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}
