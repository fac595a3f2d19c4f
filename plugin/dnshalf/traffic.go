package dnshalf

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// BlockSnapshot is one server block of the Corefile. Its counters are of the process:
// CoreDNS's own metrics, so that a block without *listed* and without *cache* has none.
type BlockSnapshot struct {
	Zones   []string
	View    string // its lists, joined by +, or another view's name; "" without
	Routes  []string
	Servers []string // its listeners, as CoreDNS labels them
	Counted bool     // Queries is known
	Queries uint64
	Cached  bool // it has a cache that was asked
	Hits    uint64

	asked uint64 // of the cache
}

// blockSnapshots lists the blocks in the order of the Corefile.
func (p *plan) blockSnapshots() ([]BlockSnapshot, error) {
	var ids []uintptr
	var all []BlockSnapshot
	for _, b := range p.blocks {
		i := slices.Index(ids, b.id)
		if i < 0 {
			i = len(ids)
			ids, all = append(ids, b.id), append(all, BlockSnapshot{View: b.View, Routes: p.routesOf(b.id), Counted: b.Listed})
		}
		all[i].Zones = append(all[i].Zones, b.Zone)
		for _, h := range b.Hosts {
			if s := b.Transport + "://" + net.JoinHostPort(h, b.Port); !slices.Contains(all[i].Servers, s) {
				all[i].Servers = append(all[i].Servers, s)
			}
		}
	}
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		// Gather returns what it could collect beside its error.
		err = fmt.Errorf("read the counters of queries: %w", err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			count(all, f.GetName(), m)
		}
	}
	settle(all)
	return all, err
}

// settle takes a cache's questions for the block's where *listed* counted none.
func settle(blocks []BlockSnapshot) {
	for i := range blocks {
		if b := &blocks[i]; b.Cached && !b.Counted {
			b.Counted, b.Queries = true, b.asked
		}
	}
}

func (p *plan) routesOf(block uintptr) []string {
	var names []string
	for _, r := range p.routes {
		if r.block == block && !slices.Contains(names, r.name) {
			names = append(names, r.name)
		}
	}
	return names
}

// count adds one series to the block that it is of.
func count(blocks []BlockSnapshot, name string, m *dto.Metric) {
	labels := map[string]string{}
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	n := uint64(m.GetCounter().GetValue())
	switch name {
	case "coredns_listed_queries_total":
		for i := range blocks {
			if b := &blocks[i]; b.View == labels["view"] && slices.Contains(b.Servers, labels["server"]) {
				b.Counted, b.Queries = true, b.Queries+n
				return
			}
		}
	case "coredns_cache_requests_total", "coredns_cache_hits_total":
		b := blockOf(blocks, labels)
		switch {
		case b == nil:
		case name == "coredns_cache_hits_total":
			b.Hits += n
		default:
			b.Cached, b.asked = true, b.asked+n
		}
	}
}

// blockOf finds the block of a cache: of its listener and view, the one with the most
// specific zone that holds the cache's.
func blockOf(blocks []BlockSnapshot, labels map[string]string) *BlockSnapshot {
	zone, _, _ := strings.Cut(labels["zones"], ",")
	var best *BlockSnapshot
	longest := -1
	for i := range blocks {
		b := &blocks[i]
		if b.View != labels["view"] || !slices.Contains(b.Servers, labels["server"]) {
			continue
		}
		for _, z := range b.Zones {
			if within(zone, z) && len(z) > longest {
				best, longest = b, len(z)
			}
		}
	}
	return best
}
