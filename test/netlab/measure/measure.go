// Package measure reports what benchmarks measure one at a time.
package measure

import (
	"slices"
	"testing"
	"time"
)

// Durations are what a benchmark has measured, one a round.
type Durations []time.Duration

// Report reports the median and the worst in milliseconds.
func (d Durations) Report(b *testing.B) {
	slices.Sort(d)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(d[len(d)/2]), "ms-median")
	b.ReportMetric(ms(d[len(d)-1]), "ms-worst")
}
