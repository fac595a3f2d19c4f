package updater

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/nameroute/nameroute/gateway"
)

// Metrics stand in CoreDNS's namespace, whose registry serves them.
const namespace, subsystem = "coredns", "lists"

// Variables declared for monitoring.
var (
	updateCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "updates_total",
		Help: "Counter of fetches of a list by outcome: updated, unchanged, refused or failed.",
	}, []string{"list", "outcome"})

	entriesGauge = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "fetched_entries",
		Help: "Gauge of the entries of a fetched list.",
	}, []string{"list"})

	missingGauge = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "missing",
		Help: "Gauge of whether a fetched list has no content at all: 1 or 0.",
	}, []string{"list"})

	failuresGauge = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "failures",
		Help: "Gauge of the fetches of a list that failed one after another.",
	}, []string{"list"})

	ages = newAgeCollector()
)

// ageCollector computes the ages of lists at the time of a scrape.
type ageCollector struct {
	desc *prometheus.Desc
	mu   sync.Mutex
	at   map[string]time.Time
}

func newAgeCollector() *ageCollector {
	c := &ageCollector{at: map[string]time.Time{}, desc: prometheus.NewDesc(
		prometheus.BuildFQName(namespace, subsystem, "age_seconds"),
		"Gauge of the time since a server last had nothing newer than the content of a list.", []string{"list"}, nil)}
	prometheus.MustRegister(c)
	return c
}

// Describe implements prometheus.Collector.
func (c *ageCollector) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c *ageCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	at := maps.Clone(c.at)
	c.mu.Unlock()
	for list, t := range at {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, time.Since(t).Seconds(), list)
	}
}

// publishMetrics sets the metrics of a list.
func publishMetrics(list string, m meta) {
	missing := 0.0
	if m.SHA256 == "" {
		missing = 1
	}
	missingGauge.WithLabelValues(list).Set(missing)
	entriesGauge.WithLabelValues(list).Set(float64(m.Rules))
	failuresGauge.WithLabelValues(list).Set(float64(m.Failures))
	ages.mu.Lock()
	defer ages.mu.Unlock()
	if at := m.current(); !at.IsZero() {
		ages.at[list] = at
	} else {
		delete(ages.at, list)
	}
}

// countUpdate counts an update of a list.
func countUpdate(list string, o Outcome) { updateCount.WithLabelValues(list, string(o)).Inc() }

// dropMetrics removes the metrics of lists that are no longer fetched.
func dropMetrics(cfg *gateway.Config) {
	ages.mu.Lock()
	defer ages.mu.Unlock()
	for list := range ages.at {
		if _, ok := cfg.Source(list); !ok {
			delete(ages.at, list)
			for _, g := range []*prometheus.GaugeVec{entriesGauge, missingGauge, failuresGauge} {
				g.DeleteLabelValues(list)
			}
		}
	}
}

// current returns when the content was last known to be the newest.
func (m meta) current() time.Time {
	if m.Checked.After(m.Fetched) {
		return m.Checked
	}
	return m.Fetched
}
