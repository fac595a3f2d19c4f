package lists

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
)

// Origin is a rule that concerns a name, and where it stands.
type Origin struct {
	List string
	File string // as gateway.yaml has it; in a folder of lists, the file that the line is in
	Line int    // counted from 1; in a binary file the number of the rule, in base64 of the decoded text
	Text string // what stands there, printable and bounded; of a binary file, what it says
	Unit string // what Line counts: "line" or "rule"

	Entry entry.Entry // what it means
}

// String is the origin as messages have it.
func (o Origin) String() string {
	if o.Unit == "line" {
		return fmt.Sprintf("%s:%d: %s", o.File, o.Line, o.Text)
	}
	return fmt.Sprintf("%s: %s %d: %s", o.File, o.Unit, o.Line, o.Text)
}

// Meaning says what the rule says of names, in words.
func (o Origin) Meaning() string {
	e := o.Entry
	what := [...]string{
		e.Text + " and all below it", "all below " + e.Text, e.Text + " alone",
		"names with " + e.Text + " in them", "names in which " + e.Text + " is found",
	}[e.Kind]
	return [...]string{"lists ", "takes out ", "takes out, unless a longer name lists them, ", "lists, whatever takes out, "}[e.Exception] + what
}

// Verdict is what a list says of a name.
type Verdict struct {
	Name    string
	Listed  bool
	Origins []Origin // all rules that concern the name, at most maxOrigins, in the order of the file
	More    int      // rules left out
}

// maxOrigins bounds the rules that are told for one name.
const maxOrigins = 1000

// Explain finds the rules of a list that a name matches, by reading its file again:
// nothing of it is kept in memory. No rule is no error.
func Explain(l gateway.List, name string) ([]Origin, error) {
	v, err := Test(l, name)
	if err != nil {
		return nil, err
	}
	return v[0].Origins, nil
}

// Test says of each name whether the list holds it, and by which rules, in one
// reading of the file. Names are in any case, in either form of IDN, with or without
// the trailing dot.
func Test(l gateway.List, names ...string) ([]Verdict, error) {
	tests := make([]*nameTest, len(names))
	for i, name := range names {
		canonicalName, reason := entry.CanonicalName(strings.TrimSpace(name))
		if reason != "" {
			return nil, fmt.Errorf("name %q: %s", name, reason)
		}
		tests[i] = &nameTest{name: canonicalName, rules: NewBuilder([]string{l.Name}), verdict: Verdict{Name: name}}
	}
	r := Report{Name: l.Name, File: l.File}
	s := &sink{report: &r}
	s.add = func(e entry.Entry) {
		match := e.Matcher()
		for _, t := range tests {
			if match(t.name) {
				t.add(l, s, e)
			}
		}
	}
	if err := sourceOf(l.File).read(l, nil, s); err != nil {
		return nil, fmt.Errorf("list %s: %s: %w", l.Name, l.File, err)
	}
	verdicts := make([]Verdict, len(tests))
	for i, t := range tests {
		ix := t.rules.Build()
		t.verdict.Listed = len(ix.Which(ix.Match(t.name))) > 0
		verdicts[i] = t.verdict
	}
	return verdicts, nil
}

// nameTest gathers the rules that concern one name.
type nameTest struct {
	name    string
	rules   *Builder
	verdict Verdict
}

func (t *nameTest) add(l gateway.List, s *sink, e entry.Entry) {
	t.rules.Add(0, e)
	if len(t.verdict.Origins) == maxOrigins {
		t.verdict.More++
		return
	}
	o := Origin{List: l.Name, File: l.File, Line: s.line, Text: printable(s.text), Unit: "line", Entry: e}
	if s.file != "" {
		o.File = filepath.Join(filepath.Dir(s.path), s.file)
	}
	if isBinary(s.report.Format) {
		o.Unit = "rule"
	}
	t.verdict.Origins = append(t.verdict.Origins, o)
}

// isBinary tells formats that have no lines.
func isBinary(format string) bool {
	switch format {
	case "geosite", "geoip", "mrs", "srs", "singbox":
		return true
	}
	return false
}
