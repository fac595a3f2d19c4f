package lists

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

// TestPacedLibrary: lists that are read while queries are answered are the same as those of a
// start.
func TestPacedLibrary(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.txt")
	write(t, file, "first.example\n")
	l, errs := Open([]gateway.List{{Name: "a", File: file}}, Options{LastGood: filepath.Join(dir, "good"), Cache: filepath.Join(dir, "cache")})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var text strings.Builder
	for i := range 1000 {
		text.WriteString(strings.Repeat("x", i%7) + "n" + strings.Repeat("y", i/7%40) + ".example\n")
	}
	write(t, file, text.String())
	if changed, errs := l.Reload(); !changed || len(errs) > 0 {
		t.Fatal(changed, errs)
	}
	if l.pace.Pauses() == 0 {
		t.Error("it went as fast as it can")
	}
	again, errs := Open([]gateway.List{{Name: "a", File: file}}, Options{})
	if len(errs) > 0 || again.Index().Len() != l.Index().Len() || l.Index().Len() == 0 {
		t.Errorf("%d names, at a start %d, %v", l.Index().Len(), again.Index().Len(), errs)
	}
	stored, errs := Open([]gateway.List{{Name: "a", File: file}}, Options{Cache: filepath.Join(dir, "cache")})
	if len(errs) > 0 || stored.Index().Len() != l.Index().Len() {
		t.Errorf("%d names out of the compiled form, want %d, %v", stored.Index().Len(), l.Index().Len(), errs)
	}
}
