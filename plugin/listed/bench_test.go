package listed

import (
	"fmt"
	"testing"

	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/index"
	"github.com/nameroute/nameroute/plugin/pkg/aliases"
	"github.com/nameroute/nameroute/test/netlab/measure"
)

// fixed is a source whose lists never change.
type fixed struct{ ix *index.Index }

func (f fixed) Config() *gateway.Config { return nil }
func (f fixed) Index() *index.Index     { return f.ix }
func (f fixed) Missing([]string) string { return "" }

// BenchmarkBlocks is the choice of the last of so many blocks, with 5,000 names each: by one
// look into the lists, and as it was before, when each block took its own.
func BenchmarkBlocks(b *testing.B) {
	for _, n := range []int{1, 5, 20} {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("list%d", i)
		}
		build := index.NewBuilder(names)
		for i := range names {
			for j := range 5000 {
				build.Add(i, entry.Entry{Kind: entry.Suffix, Text: fmt.Sprintf("n%d.list%d.example", j, i)})
			}
		}
		ix := build.Build()
		blocks := make([]*Listed, n)
		for i := range blocks {
			blocks[i] = &Listed{lists: names[i : i+1], source: fixed{ix}, aliases: aliases.New()}
		}
		queries := make([]*request.Request, 4096)
		for i := range queries {
			queries[i] = &request.Request{Req: new(dns.Msg).SetQuestion(fmt.Sprintf("www.n%d.list%d.example.", i, n-1), dns.TypeA)}
		}
		choose := func(b *testing.B, takes func(*Listed, *request.Request) bool) {
			b.ReportAllocs()
			defer measure.CPU(b)()
			for i := 0; b.Loop(); i++ {
				chosen := -1
				for j, block := range blocks {
					if takes(block, queries[i%len(queries)]) {
						chosen = j
						break
					}
				}
				if chosen != n-1 {
					b.Fatalf("%s is taken by block %d", queries[i%len(queries)].Req.Question[0].Name, chosen)
				}
			}
		}
		b.Run(fmt.Sprintf("%d/each-looks", n), func(b *testing.B) {
			choose(b, func(l *Listed, q *request.Request) bool {
				s := l.selection()
				return s.index.Match(q.Req.Question[0].Name).Listed(s.lists)
			})
		})
		b.Run(fmt.Sprintf("%d/one-look", n), func(b *testing.B) {
			choose(b, func(l *Listed, q *request.Request) bool { return l.Filter(b.Context(), q) })
		})
	}
}
