package format

import (
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	text := "\n# comment\na.example\n" + long + "\nb.example\n" + long + long + long
	entries, _, r, err := read(t, "f", "plain", text)
	if err != nil || !slices.Equal(entries, []string{"suffix:a.example", "suffix:b.example"}) {
		t.Fatalf("%q, %v", entries, err)
	}
	if r.Lines != 4 || r.Skipped != 2 || len(r.Samples) != 2 {
		t.Fatalf("%d lines, %d skipped, samples %v", r.Lines, r.Skipped, r.Samples)
	}
	for i, line := range []int{4, 6} {
		if s := r.Samples[i]; s.Line != line || s.Reason != reasonLongLine || len(s.Text) > entry.MaxPrintable+len("…") {
			t.Errorf("sample %d: %+v", i, s)
		}
	}
	// A line that just fits.
	if _, _, r, _ := read(t, "f", "plain", long[1:]+"\n"); r.Samples[0].Reason != entry.ReasonLong {
		t.Errorf("a line of 64 KiB with its end: %+v", r.Samples)
	}
}
