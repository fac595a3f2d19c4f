package format

import (
	"fmt"
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/format/ruleset"
)

// singbox is the source form of sing-box's rule-sets: names, suffixes, keywords, regular
// expressions and prefixes. The parts of a logical "or" are rules of their own. Rules that
// are inverted, a logical "and", or about anything but names and destination addresses are
// skipped.
type singbox struct{}

const (
	reasonInvert      = "a rule that matches all names but its own"
	reasonAnd         = "a logical rule whose parts must all match"
	reasonNoCondition = "a rule without names or destination addresses"
)

func (singbox) name() string { return "singbox" }

func (singbox) suits(file string) bool { return strings.HasSuffix(file, ".json") }

func (singbox) sniff(head []byte) int { return allIf(ruleset.IsJSON(head), head) }

func (singbox) parse(r io.Reader, s *Sink) error { return ruleset.ReadJSON(r, s.putRule) }

// putRule receives the entries and prefixes of a rule, or skips it.
func (s *Sink) putRule(r *ruleset.Rule) error {
	s.line++
	reason := ""
	switch {
	case r.Invert:
		reason = reasonInvert
	case r.And:
		reason = reasonAnd
	case r.Other != "":
		reason = fmt.Sprintf("it matches some packets only (%s)", r.Other)
	case len(r.Entries)+len(r.Prefixes) == 0:
		reason = reasonNoCondition
	}
	if reason != "" {
		s.Lines++
		s.text = fmt.Sprintf("rule %d", s.line)
		s.skip(s.text, reason)
		return nil
	}
	for _, e := range r.Entries {
		s.Lines++
		s.text = e.Text
		s.putTyped(e.Kind, e.Text)
	}
	for _, p := range r.Prefixes {
		s.Lines++
		s.text = p.String()
		s.putPrefix(p)
	}
	return nil
}
