package format

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

// read parses a text and returns what the sink received.
func read(t *testing.T, file, format, text string) (entries, prefixes []string, r Summary, err error) {
	t.Helper()
	s := &Sink{
		Entry:  func(e entry.Entry) { entries = append(entries, show(e)) },
		Prefix: func(p netip.Prefix) { prefixes = append(prefixes, p.String()) },
	}
	err = parse(strings.NewReader(text), file, format, s)
	return entries, prefixes, s.Summary, err
}

// show returns an entry as tests write it: except always full:name.
func show(e entry.Entry) string {
	return [...]string{"", "except always ", "except specific ", "insist "}[e.Exception] +
		[...]string{"suffix:", "below:", "full:", "keyword:", "regexp:"}[e.Kind] + e.Text
}

// formatCase is one line of a list, and its entries or the reason why it is skipped. A line
// with neither is a comment.
type formatCase struct{ line, want string }

func runFormat(t *testing.T, format string, cases []formatCase) {
	t.Helper()
	for _, tt := range cases {
		entries, prefixes, r, err := read(t, "f", format, tt.line)
		if err != nil {
			t.Errorf("%q: %v", tt.line, err)
			continue
		}
		got := strings.Join(append(entries, prefixes...), " ")
		for _, s := range r.Samples {
			got = strings.TrimPrefix(got+" ! "+s.Reason, " ")
		}
		if got != tt.want {
			t.Errorf("%s line %q:\n got %s\nwant %s", format, tt.line, got, tt.want)
		}
		if n := r.Entries(); n != len(entries) || r.Prefixes != len(prefixes) {
			t.Errorf("%q: counted %d entries and %d prefixes", tt.line, n, r.Prefixes)
		}
	}
}

func sortedWords(s string) string {
	w := strings.Fields(s)
	slices.Sort(w)
	return strings.Join(w, " ")
}

// readSelected writes a file and reads a selection of it.
func readSelected(t *testing.T, name, text, selector string) (got string, r Summary, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	write(t, file, text)
	if selector != "" {
		file += ":" + selector
	}
	return readFile(file)
}

func readFile(file string) (got string, r Summary, err error) {
	var all []string
	s := &Sink{
		Entry:  func(e entry.Entry) { all = append(all, show(e)) },
		Prefix: func(p netip.Prefix) { all = append(all, p.String()) },
	}
	err = ParseSource(file).Read("", s)
	return strings.Join(all, " "), s.Summary, err
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
