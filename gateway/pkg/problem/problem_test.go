package problem

import (
	"strings"
	"testing"
)

// A value cannot break the line, hide in it, or fill the screen.
func TestProblemIsPrintable(t *testing.T) {
	p := Problem{File: "f", Line: 1, Key: "k", Value: "a\x1b[2Jb\nc", Why: "why"}
	if got, want := p.Error(), `f:1: k: "a\x1b[2Jb\nc": why`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	p.Value = strings.Repeat("日", 1000)
	if got := p.Error(); len(got) > 120 || !strings.Contains(got, "日...") {
		t.Errorf("a long value prints as %s", got)
	}
}
