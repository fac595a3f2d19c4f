package instance

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// series makes one counter as the registry gives it.
func series(t *testing.T, n float64, labels ...string) *dto.Metric {
	t.Helper()
	l := prometheus.Labels{}
	for i := 0; i < len(labels); i += 2 {
		l[labels[i]] = labels[i+1]
	}
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "x", ConstLabels: l})
	c.Add(n)
	m := &dto.Metric{}
	if err := c.Write(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// The counters of the caches of blocks that share a listener are told apart by view and
// zone.
func TestCacheCounters(t *testing.T) {
	blocks := []BlockStatus{
		{Zones: []string{"."}, View: "mine", Servers: []string{"dns://:53"}},
		{Zones: []string{"home.arpa.", "lan."}, Servers: []string{"dns://:53"}},
		{Zones: []string{"."}, Servers: []string{"dns://:53", "tls://:853"}},
		{Zones: []string{"."}, Servers: []string{"dns://[::1]:5353"}},
	}
	for _, m := range []struct {
		name, server, zones, view string
		n                         float64
	}{
		{"coredns_cache_requests_total", "dns://:53", ".", "mine", 6},
		{"coredns_cache_hits_total", "dns://:53", ".", "mine", 5},
		{"coredns_cache_requests_total", "dns://:53", "home.arpa.,lan.", "", 4},
		{"coredns_cache_requests_total", "dns://:53", ".", "", 30},
		{"coredns_cache_requests_total", "tls://:853", ".", "", 2},
		{"coredns_cache_hits_total", "tls://:853", ".", "", 1},
		{"coredns_cache_hits_total", "dns://:9999", ".", "", 100},
	} {
		addCacheCounter(blocks, m.name, series(t, m.n, "server", m.server, "zones", m.zones, "view", m.view))
	}
	for i, want := range []BlockStatus{
		{requests: 6, Cached: true, Hits: 5}, {requests: 4, Cached: true}, {requests: 32, Cached: true, Hits: 1}, {},
	} {
		if b := blocks[i]; b.requests != want.requests || b.Cached != want.Cached || b.Hits != want.Hits {
			t.Errorf("block %d: %+v, want %+v", i, b, want)
		}
	}
}
