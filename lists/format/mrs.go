package format

import (
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format/ruleset"
)

// mrs is mihomo's binary rule-provider, behaviours domain and ipcidr. Its names are read as
// those of clash, but for +.name, which stands for the names below alone.
type mrs struct{}

func (mrs) name() string { return "mrs" }

func (mrs) suits(file string) bool { return strings.HasSuffix(file, ".mrs") }

func (mrs) sniff(head []byte) int { return allIf(ruleset.IsMRS(head), head) }

func (mrs) parse(r io.Reader, s *Sink) error {
	next := func(text string) {
		s.line++
		s.Lines++
		s.text = text
	}
	return ruleset.ReadMRS(r, func(name string) {
		next(name)
		if below, ok := strings.CutPrefix(name, "+."); ok && !strings.Contains(below, "*") {
			s.putTyped(entry.Below, below)
			return
		}
		clashDomain(name, s)
	}, func(first, last netip.Addr) {
		next(first.String() + "-" + last.String())
		if !entry.EachPrefix(first, last, s.putPrefix) {
			s.skip(s.text, entry.ReasonRange)
		}
	})
}
