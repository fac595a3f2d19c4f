package sidecar

import (
	"slices"
	"strings"
	"time"
)

// flapDetector notices changes that do not last: another program undoes them at once, or
// the kernel stores them in another form.
type flapDetector struct {
	text  string
	times int
	since time.Time
}

// A change that is made 20 times in a row, every 100 ms or faster, slows the reconciler.
const (
	flapTimes = 20
	flapPace  = 100 * time.Millisecond
)

// record adds the changes of one apply.
func (f *flapDetector) record(now time.Time, changes []string) {
	slices.Sort(changes)
	text := strings.Join(slices.Compact(changes), "\n") // a change that is undone within an apply is made twice
	if text != f.text || text == "" {
		*f = flapDetector{text: text, since: now}
	}
	f.times++
}

func (f *flapDetector) flapping(now time.Time) bool {
	return f.text != "" && f.times >= flapTimes && now.Sub(f.since) < time.Duration(f.times)*flapPace
}
