package lists

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

// syntheticNames are n different names of two to four labels, of the lengths that
// real lists have.
func syntheticNames(n int) []string {
	r := rand.New(rand.NewPCG(1, 2))
	tlds := []string{"com", "com", "com", "net", "org", "cn", "com.cn", "io", "co.uk", "info"}
	names := make([]string, n)
	for i := range names {
		b := make([]byte, 4+r.IntN(12))
		for k := range b {
			b[k] = "abcdefghijklmnopqrstuvwxyz0123456789"[r.IntN(36)]
		}
		names[i] = fmt.Sprintf("%s%x.%s", b, i, tlds[r.IntN(len(tlds))])
	}
	return names
}

func compile(names []string) *Index {
	b := NewBuilder([]string{"l"})
	for _, n := range names {
		b.Add(0, entry.Entry{Kind: entry.Suffix, Text: n})
	}
	return b.Build()
}

// goMap is the peer: the label walk over a Go map of strings.
type goMap map[string]struct{}

func (m goMap) match(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for {
		if _, ok := m[name]; ok {
			return true
		}
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return false
		}
		name = rest
	}
}

// heap is what the program holds after a collection, in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// queries are names as clients ask for them: hits below listed names, or misses.
func queries(names []string, hit bool) []string {
	r := rand.New(rand.NewPCG(3, 4))
	q := make([]string, 1<<16)
	for i := range q {
		q[i] = "www." + names[r.IntN(len(names))] + "."
		if !hit {
			q[i] = strings.Replace(q[i], ".", ".z-", 1)
		}
	}
	return q
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		names := syntheticNames(n)
		before := heap()
		ix := compile(names)
		bytes := float64(heap()-before) / float64(n)
		s, _ := ix.Selection("l")
		before = heap()
		m := make(goMap, n)
		for _, name := range names {
			m[strings.Clone(name)] = struct{}{}
		}
		mapBytes := float64(heap()-before) / float64(n)
		for _, hit := range []bool{true, false} {
			q := queries(names, hit)
			kind := map[bool]string{true: "hit", false: "miss"}[hit]
			b.Run(fmt.Sprintf("index/%d/%s", n, kind), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if ix.Match(q[i%len(q)]).Listed(s) != hit {
						b.Fatalf("%s: listed %v", q[i%len(q)], !hit)
					}
				}
				b.ReportMetric(bytes, "B/rule")
			})
			b.Run(fmt.Sprintf("gomap/%d/%s", n, kind), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if m.match(q[i%len(q)]) != hit {
						b.Fatalf("%s: listed %v", q[i%len(q)], !hit)
					}
				}
				b.ReportMetric(mapBytes, "B/rule")
			})
		}
		runtime.KeepAlive(m)
	}
}

// BenchmarkBuild is one million names from text to index.
func BenchmarkBuild(b *testing.B) {
	const n = 1_000_000
	text := strings.Join(syntheticNames(n), "\n")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		builder := NewBuilder([]string{"l"})
		rep := Report{}
		err := parse(strings.NewReader(text), "l", "", &sink{report: &rep, add: func(e entry.Entry) { builder.Add(0, e) }})
		if err != nil || rep.Suffix != n {
			b.Fatalf("%v, %d entries", err, rep.Suffix)
		}
		builder.Build()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
