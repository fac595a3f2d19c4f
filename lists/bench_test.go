package lists

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
	"github.com/nameroute/nameroute/lists/internal/synthetic"
)

// BenchmarkBuild compiles one million names from text.
func BenchmarkBuild(b *testing.B) {
	const n = 1_000_000
	text := strings.Join(synthetic.Names(n), "\n")
	file := filepath.Join(b.TempDir(), "l.txt")
	write(b, file, text)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		builder := index.NewBuilder([]string{"l"})
		s := &format.Sink{Entry: func(e entry.Entry) { builder.Add(0, e) }}
		if err := format.ParseSource(file).Read("", s); err != nil || s.Suffix != n {
			b.Fatalf("%v, %d entries", err, s.Suffix)
		}
		builder.Build()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkRestart loads an index of a million names that was compiled before: by the
// signatures of the files, and by their content if those are too young to be relied on.
func BenchmarkRestart(b *testing.B) {
	const n = 1_000_000
	dir := b.TempDir()
	cfg := []gateway.List{{Name: "l", File: filepath.Join(dir, "l.txt")}}
	write(b, cfg[0].File, strings.Join(synthetic.Names(n), "\n"))
	o := Options{Cache: filepath.Join(dir, "state"), LastGood: filepath.Join(dir, "state")}
	l, errs := Open(cfg, o)
	if len(errs) > 0 {
		b.Fatal(errs)
	}
	restart := func(b *testing.B) {
		for b.Loop() {
			again, errs := Open(cfg, o)
			if len(errs) > 0 || again.Index().Len() != n {
				b.Fatalf("%v, %d names", errs, again.Index().Len())
			}
		}
	}
	b.Run("content", restart)
	time.Sleep(clockGrain + 100*time.Millisecond)
	if changed, errs := l.Reload(); changed || len(errs) > 0 {
		b.Fatal(changed, errs)
	}
	b.Run("signature", restart)
}
