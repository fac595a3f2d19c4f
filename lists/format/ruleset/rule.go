// Package ruleset decodes rule-sets that other programs compile or generate: v2fly's
// geosite.dat and geoip.dat, sing-box's rule-sets in JSON and SRS, mihomo's MRS. It decodes
// them and bounds the memory that this takes; what a rule means for a list is up to the
// caller.
package ruleset

import (
	"errors"
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// MaxVersion is the newest version of sing-box's rule-sets that is known.
const MaxVersion = 5

// Rule is a rule of a sing-box rule-set. Its conditions on names and on destination
// addresses are alternatives; each other condition restricts it to some packets, which a
// list cannot express.
type Rule struct {
	Entries  []entry.Entry // their texts are not checked
	Prefixes []netip.Prefix
	Invert   bool   // it matches all that its conditions do not match
	And      bool   // a logical rule whose parts must all match
	Other    string // a condition of another kind, "" if there is none

	parts []*Rule // of a logical rule; nil for a plain one
	bytes int     // of the entries' text
}

const (
	maxRuleText     = 64 << 20 // bytes of text in a rule, which is held until its end is read
	maxRulePrefixes = 1 << 20  // prefixes in a rule
	maxNesting      = 32       // logical rules in logical rules
)

var errRuleSize = errors.New("a rule that is too large")

func (r *Rule) add(kind entry.Kind, text string) error {
	if r.bytes += len(text) + 32; r.bytes > maxRuleText {
		return errRuleSize
	}
	r.Entries = append(r.Entries, entry.Entry{Kind: kind, Text: text})
	return nil
}

// addSuffix adds what domain_suffix says: with a leading dot it matches the names below.
func (r *Rule) addSuffix(text string) error {
	if below, ok := strings.CutPrefix(text, "."); ok {
		return r.add(entry.Below, below)
	}
	return r.add(entry.Suffix, text)
}

func (r *Rule) addPrefix(p netip.Prefix) {
	if len(r.Prefixes) < maxRulePrefixes {
		r.Prefixes = append(r.Prefixes, p)
	} else {
		r.bytes = maxRuleText + 1
	}
}

// alternatives returns the rules that a rule is equivalent to: the parts of a logical "or" are
// rules of their own as long as nothing restricts all of them.
func (r *Rule) alternatives() []*Rule {
	if r.parts == nil || r.Invert || r.And || r.Other != "" {
		return []*Rule{r}
	}
	return r.parts
}

// addPart adds a part to a logical rule whose parts have total bytes of text so far.
func (r *Rule) addPart(part *Rule, total *int) error {
	r.parts = append(r.parts, part.alternatives()...)
	if *total += part.bytes + 256; *total > maxRuleText {
		return errRuleSize
	}
	return nil
}

// emit calls yield for the alternatives of a rule.
func (r *Rule) emit(yield func(*Rule) error) error {
	for _, a := range r.alternatives() {
		if a.bytes > maxRuleText {
			return errRuleSize
		}
		if err := yield(a); err != nil {
			return err
		}
	}
	return nil
}

// unexpected turns the end of a file where more must follow into an error that says so.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
