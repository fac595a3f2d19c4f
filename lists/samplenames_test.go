package lists

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

func TestSampleNames(t *testing.T) {
	text := "[AutoProxy]\n||one.example\n||two.example\n@@||two.example\n||three.example\n||four.example\n"
	file := filepath.Join(t.TempDir(), "l.txt")
	write(t, file, text)
	got, err := SampleNames(gateway.List{Name: "l", File: file}, 2)
	if err != nil || !slices.Equal(got, []string{"one.example", "three.example"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := SampleNames(gateway.List{Name: "l", File: "/nonexistent"}, 1); err == nil {
		t.Error("a missing file is no error")
	}
}

// TestDemo: the small list of the demo holds what it says.
func TestDemo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "demo.txt")
	write(t, file, string(Demo))
	l, errs := Open([]gateway.List{{Name: "demo", File: file}}, Options{})
	wantErrors(t, errs)
	if r := l.Reports()[0]; r.Skipped != 0 || r.Format != "plain" {
		t.Fatalf("%+v", r)
	}
	for name, want := range map[string]bool{
		"listed.example": true, "www.video.example.": true, "cdn.example": false, "a.cdn.example": true,
		"exact.example": true, "a.exact.example": false, "mystreaming.test": true, "img7.pictures.example": true,
		"www.blocked.test": true, "unlisted.example": false, "example": false,
	} {
		if got := which(l.Index(), name) != ""; got != want {
			t.Errorf("demo list holds %s: %v, want %v", name, got, want)
		}
	}
}
