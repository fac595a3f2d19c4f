// Package measure reports what benchmarks measure one at a time.
package measure

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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

// CPU measures the processor time of the process until the function that it returns is
// called, which reports it as cpu-ns/op: on a busy machine the clock says little.
func CPU(b *testing.B) (report func()) {
	before := cpu()
	return func() { b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op") }
}

func cpu() time.Duration {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r) // fails for wrong arguments only
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
