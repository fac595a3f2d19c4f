package instance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Metrics of CoreDNS's cache. It exports no other view of its counters than the registry.
const (
	cacheRequests = "coredns_cache_requests_total"
	cacheHits     = "coredns_cache_hits_total"
)

// addCacheCounters adds what the blocks' caches have counted since the process started.
func addCacheCounters(blocks []BlockStatus) error {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		// Gather returns what it could collect beside its error.
		err = fmt.Errorf("read the cache's counters: %w", err)
	}
	for _, f := range families {
		if name := f.GetName(); name == cacheRequests || name == cacheHits {
			for _, m := range f.GetMetric() {
				addCacheCounter(blocks, name, m)
			}
		}
	}
	return err
}

// addCacheCounter adds one series to the block that it counts for.
func addCacheCounter(blocks []BlockStatus, name string, m *dto.Metric) {
	labels := map[string]string{}
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	b := blockOfCache(blocks, labels)
	switch n := uint64(m.GetCounter().GetValue()); {
	case b == nil:
	case name == cacheHits:
		b.Hits += n
	default:
		b.Cached, b.requests = true, b.requests+n
	}
}

// blockOfCache returns the block of a cache: of its listener and view, the one with the
// most specific zone that contains the cache's.
func blockOfCache(blocks []BlockStatus, labels map[string]string) *BlockStatus {
	name, _, _ := strings.Cut(labels["zones"], ",")
	var best *BlockStatus
	longest := -1
	for i := range blocks {
		b := &blocks[i]
		if b.View != labels["view"] || !slices.Contains(b.Servers, labels["server"]) {
			continue
		}
		for _, z := range b.Zones {
			if within(name, z) && len(z) > longest {
				best, longest = b, len(z)
			}
		}
	}
	return best
}
