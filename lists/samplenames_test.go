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
