package format

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocs: the table in docs/lists.md has all formats, and its examples are detected and read
// as it says.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/lists.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	examples := 0
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| (?:`(.+)`)? ?\\| .+ \\|$").FindAllStringSubmatch(string(doc), -1) {
		format, example := m[1], strings.ReplaceAll(m[2], `\|`, "|")
		told = append(told, format)
		if example == "" {
			continue
		}
		examples++
		s := &Sink{selector: map[string]string{"delegated": "CN"}[format]}
		if err := parse(strings.NewReader(example+"\n"), "list", "", s); err != nil || s.Format != format || s.Skipped > 0 || s.Size() != 1 {
			t.Errorf("%s: %+v, %v", example, s.Summary, err)
		}
	}
	known := Names()
	slices.Sort(known)
	slices.Sort(told)
	if !slices.Equal(told, known) || examples < 11 {
		t.Errorf("docs/lists.md tells of %q with %d examples; formats are %q", told, examples, known)
	}
	for _, to := range Targets() {
		if !strings.Contains(string(doc), to) {
			t.Errorf("docs/lists.md does not tell of --to %s", to)
		}
	}
}
