package lists

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// BenchmarkRestart is from nothing to an index that answers, where a million names
// were compiled before: by the files' signatures, and by their content where those
// are too young to be relied on.
func BenchmarkRestart(b *testing.B) {
	const n = 1_000_000
	dir := b.TempDir()
	cfg := []gateway.List{{Name: "l", File: filepath.Join(dir, "l.txt")}}
	write(b, cfg[0].File, strings.Join(syntheticNames(n), "\n"))
	o := Options{Cache: filepath.Join(dir, "state"), LastGood: filepath.Join(dir, "state")}
	l, errs := Open(cfg, o)
	if len(errs) > 0 {
		b.Fatal(errs)
	}
	restart := func(b *testing.B) {
		for b.Loop() {
			again, errs := Open(cfg, o)
			if len(errs) > 0 || again.Index().Len() != n || again.Index().seed != l.Index().seed {
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
