package index

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/internal/synthetic"
)

func compile(names []string) *Index {
	b := NewBuilder([]string{"l"})
	for _, n := range names {
		b.Add(0, entry.Entry{Kind: entry.Suffix, Text: n})
	}
	return b.Build()
}

// goMap is what the index is compared with: a walk over the labels with a map of strings.
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

// heap returns what the program holds after a collection, in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// queries returns names as clients query them: hits below listed names, or misses.
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
		names := synthetic.Names(n)
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

// quiet returns the time of one call in the round that is slower than one in ten: a short
// one, which nothing interrupted on a busy machine.
func quiet(call func(i int)) time.Duration {
	const rounds, calls = 3000, 200
	took := make([]time.Duration, rounds)
	for round := range took {
		began := time.Now()
		for i := range calls {
			call(round*calls + i)
		}
		took[round] = time.Since(began)
	}
	slices.Sort(took)
	return took[rounds/10] / calls
}

// BenchmarkLookup compares lookups in lists of all sizes with a Go map of strings. With
// patterns, the list has some like those of gfwlist.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{4000, 100_000, 1_000_000} {
		names := synthetic.Names(n)
		m := make(goMap, n)
		for _, name := range names {
			m[strings.Clone(name)] = struct{}{}
		}
		matchers := map[string]func(name string) bool{"gomap": m.match}
		for _, kind := range []string{"index", "patterns"} {
			builder := NewBuilder([]string{"l"})
			for _, name := range names {
				builder.Add(0, entry.Entry{Kind: entry.Suffix, Text: name})
			}
			if kind == "patterns" {
				for _, r := range []string{`^([^.]+\.)?blogspot\.`, `^([^.]+\.)?google\.`, `^(.+\.)?akamai.*\.test$`} {
					builder.Add(0, entry.Entry{Kind: entry.Regexp, Text: r})
				}
				builder.Add(0, entry.Entry{Kind: entry.Keyword, Text: "facebook-"})
			}
			ix := builder.Build()
			s, _ := ix.Selection("l")
			matchers[kind] = func(name string) bool { return ix.Match(name).Listed(s) }
		}
		for _, kind := range slices.Sorted(maps.Keys(matchers)) {
			match := matchers[kind]
			for _, hit := range []bool{true, false} {
				q := queries(names, hit)
				b.Run(fmt.Sprintf("%s/%d/%s", kind, n, map[bool]string{true: "hit", false: "miss"}[hit]), func(b *testing.B) {
					for b.Loop() {
						took := quiet(func(i int) {
							if match(q[i&(len(q)-1)]) != hit {
								b.Fatal(q[i&(len(q)-1)])
							}
						})
						b.ReportMetric(float64(took.Nanoseconds()), "ns/lookup")
					}
				})
			}
		}
	}
}

// hostilePatterns are the kinds of lists that cost much, each of about the size in bytes.
var hostilePatterns = map[string]func(i int) entry.Entry{
	"wildcards": func(i int) entry.Entry {
		x, _ := entry.Glob(fmt.Sprintf("cdn%d*.example%d.com", i, i), true)
		return entry.Entry{Kind: entry.Regexp, Text: x}
	},
	"wildcards below one domain": func(i int) entry.Entry {
		x, _ := entry.Glob(fmt.Sprintf("ad%d*.com", i), true)
		return entry.Entry{Kind: entry.Regexp, Text: x}
	},
	"without fixed text": func(i int) entry.Entry {
		return entry.Entry{Kind: entry.Regexp, Text: fmt.Sprintf("^[a-z]{%d}[0-9]+.*x", i%50)}
	},
	"one guard": func(i int) entry.Entry {
		return entry.Entry{Kind: entry.Regexp, Text: fmt.Sprintf("^[0-9]{%d}.*com$", i%900)}
	},
	"repetitions": func(i int) entry.Entry {
		return entry.Entry{Kind: entry.Regexp, Text: fmt.Sprintf("abc[0-9x]{900}%d", i)}
	},
	"keywords": func(i int) entry.Entry {
		return entry.Entry{Kind: entry.Keyword, Text: fmt.Sprintf("keyword-%d-tracker", i*7919)}
	},
}

// BenchmarkPatterns compares the estimates of Meter with what patterns take: memory of the
// process at its peak while they are built, and time for a name that none of them is about.
func BenchmarkPatterns(b *testing.B) {
	for _, name := range slices.Sorted(maps.Keys(hostilePatterns)) {
		b.Run(name, func(b *testing.B) {
			var m Meter
			builder := NewBuilder([]string{"l"})
			for i := range 300 {
				e := hostilePatterns[name](i)
				m.Entry(e)
				builder.Add(0, e)
			}
			before := heap()
			ix := builder.Build()
			after := heap()
			for b.Loop() {
				ix.Match("www.some-name.example.com")
			}
			c := m.Cost()
			b.ReportMetric(float64(after-before)/300, "B/pattern")
			b.ReportMetric(float64(c.Patterns)/300, "estimate/pattern")
			b.ReportMetric(float64(c.Steps), "steps")
			runtime.KeepAlive(ix)
		})
	}
}
