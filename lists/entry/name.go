package entry

import (
	"strings"

	"golang.org/x/net/idna"
)

// MaxName is the length of the longest name (RFC 1035 2.3.4) in presentation form without
// the trailing dot, in bytes.
const MaxName = 253

const maxLabel = 63

// Reasons why a text is no name or keyword, or no entry can be made of it. They are
// constants because a million lines of a hostile list may each have one.
const (
	ReasonEmpty     = "no name"
	ReasonChar      = "not a domain name: only letters, digits, '-', '_' and '.' may be in it"
	ReasonLabel     = "not a domain name: empty label, or one of more than 63 bytes"
	ReasonLong      = "not a domain name: longer than 253 bytes"
	ReasonNumber    = "not a domain name: its last label is a number"
	ReasonIDN       = "not an internationalized domain name"
	ReasonKeyword   = "not a keyword: only letters, digits, '-', '_' and '.' may be in it"
	ReasonEveryName = "matches every name; use a server block without a list instead"
)

// toASCII maps as a browser's address bar does (UTS 46, nontransitional), but
// accepts '_' and hyphens where real names have them against the rules.
var toASCII = idna.New(idna.MapForLookup(), idna.Transitional(false),
	idna.StrictDomainName(false), idna.CheckHyphens(false))

// CanonicalName returns a name in the form that entries have: lower case, punycode, no
// trailing dot. A reason other than "" says why it is no name.
func CanonicalName(s string) (name, reason string) {
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return "", ReasonEmpty
	}
	if !isASCII(s) {
		a, err := toASCII.ToASCII(s)
		if err != nil {
			return "", ReasonIDN
		}
		s = strings.TrimSuffix(a, ".") // an ideographic full stop became one
	}
	s = strings.ToLower(s)
	return s, checkName(s)
}

// checkName returns the reason why a text in lower case is no name, or "".
func checkName(s string) string {
	if len(s) > MaxName {
		return ReasonLong
	}
	label, digits := 0, 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.':
			if label == 0 || label > maxLabel {
				return ReasonLabel
			}
			label, digits = 0, 0
			continue
		case c >= '0' && c <= '9':
			digits++
		case !isNameByte(c):
			return ReasonChar
		}
		label++
	}
	if label == 0 || label > maxLabel {
		return ReasonLabel
	}
	if digits == label { // RFC 3696 2: no name ends so, but a mistyped address does
		return ReasonNumber
	}
	return ""
}

// isNameByte reports whether c may be in a label of a canonical name.
func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// CheckKeyword returns the reason why a text cannot be a keyword, or "".
func CheckKeyword(s string) string {
	if s == "" {
		return ReasonEmpty
	}
	if strings.Trim(s, ".") == "" {
		return ReasonEveryName
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '.' && !isNameByte(s[i]) {
			return ReasonKeyword
		}
	}
	return ""
}
