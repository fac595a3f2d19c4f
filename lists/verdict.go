package lists

import (
	"fmt"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
)

// Verdict is what a list says of a name.
type Verdict struct {
	Name    string
	Listed  bool
	Origins []Origin // the rules that match the name, at most maxOrigins, in the order of the file
	More    int      // rules that were left out
}

// maxOrigins bounds the rules that are returned for one name.
const maxOrigins = 1000

// Origin is a rule that matches a name, and where it comes from.
type Origin struct {
	List            string
	format.Position             // its File is set: as gateway.yaml names it, or the file of a directory
	Entry           entry.Entry // the meaning of the rule
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
	e := o.Entry
	names := [...]string{
		e.Text + " and all below it", "all below " + e.Text, e.Text + " alone",
		"names with " + e.Text + " in them", "names that match " + e.Text,
	}[e.Kind]
	return [...]string{"lists ", "removes ", "removes, unless a longer name lists them, ", "lists, despite exceptions, "}[e.Exception] + names
}

// Test reports for each name whether the list holds it, and by which rules. It reads the
// file once and keeps nothing of it in memory. Names are in any case, in either form of IDN,
// with or without the trailing dot.
func Test(l gateway.List, names ...string) ([]Verdict, error) {
	tests := make([]*nameTest, len(names))
	for i, name := range names {
		canonical, reason := entry.CanonicalName(strings.TrimSpace(name))
		if reason != "" {
			return nil, fmt.Errorf("name %q: %s", name, reason)
		}
		tests[i] = &nameTest{name: canonical, rules: index.NewBuilder([]string{l.Name}), verdict: Verdict{Name: name}}
	}
	s := &format.Sink{}
	s.Entry = func(e entry.Entry) {
		matches := e.Matcher()
		for _, t := range tests {
			if matches(t.name) {
				t.add(l, s, e)
			}
		}
	}
	if err := format.ParseSource(l.File).Read(l.Format, s); err != nil {
		return nil, fmt.Errorf("list %s: %s: %w", l.Name, l.File, err)
	}
	verdicts := make([]Verdict, len(tests))
	for i, t := range tests {
		ix := t.rules.Build()
		t.verdict.Listed = len(ix.Match(t.name).Lists()) > 0
		verdicts[i] = t.verdict
	}
	return verdicts, nil
}

// nameTest collects the rules that match one name.
type nameTest struct {
	name    string
	rules   *index.Builder
	verdict Verdict
}

func (t *nameTest) add(l gateway.List, s *format.Sink, e entry.Entry) {
	t.rules.Add(0, e)
	if len(t.verdict.Origins) == maxOrigins {
		t.verdict.More++
		return
	}
	o := Origin{List: l.Name, Position: s.Position(), Entry: e}
	if o.File == "" {
		o.File = l.File
	}
	t.verdict.Origins = append(t.verdict.Origins, o)
}
