package lists

import (
	"strings"

	"golang.org/x/net/idna"
)

// Bounds of RFC 1035 2.3.4, in presentation form without the trailing dot.
const (
	maxName  = 253
	maxLabel = 63
)

// Reasons for which a line is skipped. They are constants because a hostile list
// may be skipped line by line, a million times.
const (
	reasonEmpty     = "no name"
	reasonChar      = "not a domain name: only letters, digits, '-', '_' and '.' may be in it"
	reasonLabel     = "not a domain name: empty label, or one of more than 63 bytes"
	reasonLong      = "not a domain name: longer than 253 bytes"
	reasonNumber    = "not a domain name: its last label is a number"
	reasonIDN       = "not an internationalized domain name"
	reasonEveryName = "would hold every name; use a block without lists for that"
)

// toASCII maps as a browser's address bar does (UTS 46, nontransitional), but
// leaves '_' and hyphens alone, which real names have where they should not.
var toASCII = idna.New(idna.MapForLookup(), idna.Transitional(false),
	idna.StrictDomainName(false), idna.CheckHyphens(false))

// canonical turns a name as written into the form that entries have: lower case,
// punycode, no trailing dot. A reason other than "" says why it is no name.
func canonical(s string) (name, reason string) {
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return "", reasonEmpty
	}
	if !isASCII(s) {
		a, err := toASCII.ToASCII(s)
		if err != nil {
			return "", reasonIDN
		}
		s = strings.TrimSuffix(a, ".") // an ideographic full stop may have ended it
	}
	s = strings.ToLower(s)
	return s, checkName(s)
}

// checkName returns the reason why a lower-case name is none, or "".
func checkName(s string) string {
	if len(s) > maxName {
		return reasonLong
	}
	label, digits := 0, 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.':
			if label == 0 || label > maxLabel {
				return reasonLabel
			}
			label, digits = 0, 0
			continue
		case c >= '0' && c <= '9':
			digits++
		case !isNameByte(c):
			return reasonChar
		}
		label++
	}
	if label == 0 || label > maxLabel {
		return reasonLabel
	}
	if digits == label { // RFC 3696 2: an address that went wrong, never a name
		return reasonNumber
	}
	return ""
}

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
