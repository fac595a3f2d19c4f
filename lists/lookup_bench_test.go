package lists

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/lists/entry"
)

// quiet is the time of one call in a short round, of which only one in ten is quicker:
// one that nothing interrupted, whatever else the machine does.
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

// BenchmarkLookup is a lookup in lists of all sizes beside a Go map of strings, as
// quiet measures it. With patterns, the list has some as gfwlist has them.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{4000, 100_000, 1_000_000} {
		names := syntheticNames(n)
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
