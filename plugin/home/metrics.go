package home

import (
	"context"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// answers counts what did not leave the home.
var answers = promauto.NewCounterVec(prometheus.CounterOpts{
	Namespace: plugin.Namespace,
	Subsystem: name,
	Name:      "answers_total",
	Help:      "Counter of queries that were answered here and not forwarded, by what the name is.",
}, []string{"server", "kind"})

var kinds = []kind{localhost, special, reverse, domain, ddr, canary, single}

// counters are the metrics of one server, so that a query looks up no labels.
type counters struct {
	server string
	of     map[kind]prometheus.Counter
}

func (h *Home) count(ctx context.Context, k kind) {
	server := metrics.WithServer(ctx)
	c := h.counters.Load()
	if c == nil || c.server != server {
		c = &counters{server, map[kind]prometheus.Counter{}}
		for _, k := range kinds {
			c.of[k] = answers.WithLabelValues(server, string(k))
		}
		h.counters.Store(c)
	}
	c.of[k].Inc()
}
