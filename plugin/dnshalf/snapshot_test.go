package dnshalf

import (
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func TestMeter(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	var m meter
	now := time.Unix(1_000_000, 0)
	m.note(now, []netip.Addr{v4, v4, v6})
	m.note(now.Add(30*time.Second), []netip.Addr{v4})
	for _, c := range []struct {
		after  time.Duration
		v4, v6 int
	}{{0, 2, 1}, {30 * time.Second, 3, 1}, {59 * time.Second, 3, 1}, {60 * time.Second, 1, 0}, {89 * time.Second, 1, 0}, {90 * time.Second, 0, 0}} {
		// What lies ahead of a clock that was put back does not count either.
		if a, b := m.perMinute(now.Add(c.after)); a != c.v4 || b != c.v6 {
			t.Errorf("after %v: %d and %d, want %d and %d", c.after, a, b, c.v4, c.v6)
		}
	}
	m.note(now.Add(60*time.Second), []netip.Addr{v6})
	if a, b := m.perMinute(now.Add(60 * time.Second)); a != 1 || b != 1 {
		t.Errorf("a second that comes again: %d and %d, want 1 and 1", a, b)
	}
}

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

// The counters of blocks that share a listener are told apart by view and zone.
func TestBlockCounters(t *testing.T) {
	blocks := []BlockSnapshot{
		{Zones: []string{"."}, View: "mine", Servers: []string{"dns://:53"}},
		{Zones: []string{"home.arpa.", "lan."}, Servers: []string{"dns://:53"}},
		{Zones: []string{"."}, Servers: []string{"dns://:53", "tls://:853"}},
		{Zones: []string{"."}, Servers: []string{"dns://[::1]:5353"}},
	}
	count(blocks, "coredns_listed_queries_total", series(t, 7, "server", "dns://:53", "view", "mine"))
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
		{"coredns_dns_requests_total", "dns://:53", ".", "", 100},
	} {
		count(blocks, m.name, series(t, m.n, "server", m.server, "zones", m.zones, "view", m.view))
	}
	settle(blocks)
	for i, want := range []BlockSnapshot{
		{Counted: true, Queries: 7, Cached: true, Hits: 5}, {Counted: true, Queries: 4, Cached: true}, {Counted: true, Queries: 32, Cached: true, Hits: 1}, {},
	} {
		if b := blocks[i]; b.Counted != want.Counted || b.Queries != want.Queries || b.Cached != want.Cached || b.Hits != want.Hits {
			t.Errorf("block %d: %+v, want %+v", i, b, want)
		}
	}
}
