package lists

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// headless is a rule of a sing-box rule-set while it is read. Its conditions on
// names and destination addresses stand beside each other; every other condition
// narrows them to some packets, which a list of names cannot say.
type headless struct {
	entries  []entry.Entry // not yet checked
	prefixes []netip.Prefix
	invert   bool
	narrowed string // a condition of another kind
	and      bool   // a logical rule whose parts must all hold
	bytes    int    // of the entries' text
}

const (
	maxHeadless  = 64 << 20 // bytes of text in a rule, which is held until its end is read
	maxRanges    = 1 << 20  // prefixes in a rule
	maxNested    = 32       // logical rules in logical rules
	reasonInvert = "a rule that means all names but its own"
	reasonAnd    = "a logical rule whose parts must all hold"
	reasonRange  = "not a range of addresses"
)

var errHeadless = errors.New("a rule that is too large")

func (h *headless) add(kind entry.Kind, text string) error {
	if h.bytes += len(text) + 32; h.bytes > maxHeadless {
		return errHeadless
	}
	h.entries = append(h.entries, entry.Entry{Kind: kind, Text: text})
	return nil
}

// suffix reads what domain_suffix says: with a dot it means the names below.
func (h *headless) suffix(text string) error {
	if below, ok := strings.CutPrefix(text, "."); ok {
		return h.add(entry.Below, below)
	}
	return h.add(entry.Suffix, text)
}

func (h *headless) addPrefix(p netip.Prefix) {
	if len(h.prefixes) < maxRanges {
		h.prefixes = append(h.prefixes, p)
	} else {
		h.bytes = maxHeadless + 1
	}
}

// emit passes a whole rule on, or skips it with the reason why it is none for a list.
func (h *headless) emit(s *sink) error {
	if h.bytes > maxHeadless {
		return errHeadless
	}
	s.line++
	reason := ""
	switch {
	case h.invert:
		reason = reasonInvert
	case h.and:
		reason = reasonAnd
	case h.narrowed != "":
		reason = fmt.Sprintf("it holds for some packets only (%s)", h.narrowed)
	}
	if reason != "" {
		s.report.Lines++
		s.text = fmt.Sprintf("rule %d", s.line)
		s.skip(s.text, reason)
		return nil
	}
	for _, e := range h.entries {
		s.report.Lines++
		s.text = e.Text
		s.typed(e.Kind, e.Text)
	}
	for _, p := range h.prefixes {
		s.report.Lines++
		s.text = p.String()
		s.entryPrefix(p)
	}
	if len(h.entries)+len(h.prefixes) == 0 {
		s.report.Lines++
		s.skip(fmt.Sprintf("rule %d", s.line), reasonNoCondition)
	}
	return nil
}

const reasonNoCondition = "a rule without names or destination addresses"
