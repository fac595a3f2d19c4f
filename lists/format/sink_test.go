package format

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

func TestSamples(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "bad line %d\x1b[31m\n", i)
	}
	_, _, r, _ := read(t, "f", "plain", text.String()+"good.example\n")
	if r.Skipped != 100 || len(r.Samples) != maxSamples || r.Suffix != 1 || r.Lines != 101 {
		t.Fatalf("%+v", r)
	}
	want := `line 5: "bad line 4�[31m": ` + reasonWords
	if got := r.Samples[4].String(); got != want {
		t.Errorf("sample: %s\n   want: %s", got, want)
	}
	for _, s := range []string{strings.Repeat("é", 60), strings.Repeat("\xff", 200), strings.Repeat("a", 79) + "é"} {
		if p := entry.Printable(s); strings.ContainsRune(p, '\xff') || len(p) > 3*entry.MaxPrintable+3 {
			t.Errorf("entry.Printable(%q) = %q", s, p)
		}
	}
}

func TestNoEntries(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"# a comment\n\n", ""},
		{"192.0.2.0/24\n", ""},
		{"?\n!\n", `f: no entry in 2 lines, read as plain; line 1: "?": ` + entry.ReasonChar},
		{"127.0.0.1 localhost\n", "f: no entry in 1 lines, read as hosts"},
	} {
		_, _, r, err := read(t, "f", "", tt.text)
		if err != nil {
			t.Fatal(err)
		}
		err = r.Check("f")
		if tt.want == "" {
			if err != nil {
				t.Errorf("%q: %v", tt.text, err)
			}
			continue
		}
		if err == nil || err.Error() != tt.want || !errors.Is(err, ErrNoEntries) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
}
