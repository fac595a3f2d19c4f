package lists

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
)

// Verdict is what a list says of a name, or of an address or a prefix.
type Verdict struct {
	Name    string
	Err     error // why it is neither; the other fields are not set then
	Listed  bool
	Origins []Origin // the rules that match the name, at most maxOrigins, in the order of the file
	More    int      // rules that were left out
}

// maxOrigins bounds the rules that are returned for one name.
const maxOrigins = 1000

// Origin is a rule that matches a name, and where it comes from.
type Origin struct {
	List            string
	format.Position              // its File is set: as gateway.yaml names it, or the file of a directory
	Entry           entry.Entry  // the meaning of the rule
	Prefix          netip.Prefix // the same of one about addresses
}

// String returns the origin as messages quote it.
func (o Origin) String() string {
	if o.Rule {
		return fmt.Sprintf("%s: rule %d: %s", o.File, o.Line, o.Text)
	}
	return fmt.Sprintf("%s:%d: %s", o.File, o.Line, o.Text)
}

// Meaning describes the rule in words.
func (o Origin) Meaning() string {
	if o.Prefix.IsValid() {
		return "lists the addresses of " + o.Prefix.String()
	}
	e := o.Entry
	names := [...]string{
		e.Text + " and all below it", "all below " + e.Text, e.Text + " alone",
		"names with " + e.Text + " in them", "names that match " + e.Text,
	}[e.Kind]
	return [...]string{"lists ", "removes ", "removes, unless a longer name lists them, ", "lists, despite exceptions, "}[e.Exception] + names
}

// Test reports for each name whether the list holds it, and by which rules. It reads the
// file once and keeps nothing of it in memory. Names are in any case, in either form of IDN,
// with or without the trailing dot. An address or a prefix is held by the prefixes that all
// of it is in.
func Test(l gateway.List, names ...string) ([]Verdict, error) {
	tests := make([]*nameTest, len(names))
	for i, name := range names {
		tests[i] = newNameTest(l, name)
	}
	s := &format.Sink{}
	s.Prefix = func(p netip.Prefix) {
		for _, t := range tests {
			if t.prefix.IsValid() && p.Bits() <= t.prefix.Bits() && p.Contains(t.prefix.Addr()) {
				t.verdict.Listed = true
				t.origin(l, s, Origin{Prefix: p})
			}
		}
	}
	s.Entry = func(e entry.Entry) {
		matches := e.Matcher()
		for _, t := range tests {
			if t.name != "" && matches(t.name) {
				t.add(l, s, e)
			}
		}
	}
	if err := format.ParseSource(l.File).Read(l.Format, s); err != nil {
		return nil, fmt.Errorf("list %s: %s: %w", l.Name, l.File, err)
	}
	verdicts := make([]Verdict, len(tests))
	for i, t := range tests {
		if t.name != "" {
			t.verdict.Listed = len(t.rules.Build().Match(t.name).Lists()) > 0
		}
		verdicts[i] = t.verdict
	}
	return verdicts, nil
}

// nameTest collects the rules that match one name, or one prefix.
type nameTest struct {
	name    string       // "" for a prefix, and for what is neither
	prefix  netip.Prefix // not valid for a name
	rules   *index.Builder
	verdict Verdict
}

func newNameTest(l gateway.List, text string) *nameTest {
	t := &nameTest{verdict: Verdict{Name: text}}
	text = strings.TrimSpace(text)
	var ok bool
	if t.prefix, ok = entry.ParsePrefix(text); ok {
		return t
	}
	name, reason := entry.CanonicalName(text)
	if reason != "" {
		t.verdict.Err = errors.New(reason)
		return t
	}
	t.name, t.rules = name, index.NewBuilder([]string{l.Name})
	return t
}

func (t *nameTest) add(l gateway.List, s *format.Sink, e entry.Entry) {
	t.rules.Add(0, e)
	t.origin(l, s, Origin{Entry: e})
}

func (t *nameTest) origin(l gateway.List, s *format.Sink, o Origin) {
	if len(t.verdict.Origins) == maxOrigins {
		t.verdict.More++
		return
	}
	o.List, o.Position = l.Name, s.Position()
	if o.File == "" {
		o.File = l.File
	}
	t.verdict.Origins = append(t.verdict.Origins, o)
}
