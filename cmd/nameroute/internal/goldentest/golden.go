// Package goldentest compares what is printed with what a person has read and kept.
package goldentest

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

var update = flag.Bool("update", false, "write what is printed to testdata")

// Compare compares a text with a file of testdata, and with -update writes it there.
func Compare(t *testing.T, file, got string) {
	t.Helper()
	name := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := statefile.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}
