package format

import (
	"io"
	"strings"
	"unicode/utf8"

	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format/ruleset"
)

// geosite is a category of v2fly's geosite.dat:
//
//	geosite.dat:netflix        all rules of the category
//	geosite.dat:google@ads     those that have the attribute
//	geosite.dat:google@-ads    those that do not have it
//	geosite.dat:cn@!ads        the same, where no rule has an attribute "!ads"
//
// Several attributes may be given; a rule must satisfy all of them.
type geosite struct{}

const (
	reasonRuleType = "a rule of an unknown type"
	reasonNoDomain = "a domain without a name"
)

func (geosite) name() string { return "geosite" }

func (geosite) suits(file string) bool { return strings.HasPrefix(file, "geosite") }

func (geosite) sniff(head []byte) int { return allIf(ruleset.IsGeosite(head), head) }

func (geosite) parse(r io.Reader, s *Sink) error {
	category, filter, err := parseSelector(s.selector)
	if err != nil {
		return err
	}
	if filter.ambiguous() && s.rewind != nil {
		err := ruleset.ReadGeosite(r, category, func(d ruleset.Domain) error {
			filter.addKnown(d.Attributes)
			return nil
		})
		if err != nil {
			return err
		}
		if r, err = s.rewind(); err != nil {
			return err
		}
	}
	return ruleset.ReadGeosite(r, category, func(d ruleset.Domain) error {
		s.line++
		if filter.matches(d.Attributes) {
			s.Lines++
			putDomain(d, s)
		}
		return nil
	})
}

// putDomain receives the entry of a rule.
func putDomain(d ruleset.Domain, s *Sink) {
	s.text = d.Text
	if !utf8.ValidString(d.Text) || strings.IndexByte(d.Text, 0) >= 0 {
		s.skip(d.Text, reasonUTF8)
		return
	}
	kinds := [...]entry.Kind{entry.Keyword, entry.Regexp, entry.Suffix, entry.Full} // of Domain.Type
	switch {
	case d.Type >= uint64(len(kinds)):
		s.skip(d.Text, reasonRuleType)
	case d.Text == "":
		s.skip(d.Text, reasonNoDomain)
	default:
		s.putTyped(kinds[d.Type], d.Text)
	}
}
