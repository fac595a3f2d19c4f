package home

import (
	"context"

	"github.com/coredns/coredns/plugin"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// answers counts queries that were not forwarded.
var answers = promauto.NewCounterVec(prometheus.CounterOpts{
	Namespace: plugin.Namespace,
	Subsystem: name,
	Name:      "answers_total",
	Help:      "Counter of queries that were answered here and not forwarded.",
}, []string{"server", "kind"})

var kinds = []kind{localhost, special, reverse, domain, ddr, canary, single}

func (h *Home) count(ctx context.Context, k kind) {
	h.counters.Of(ctx, func(server string) map[kind]prometheus.Counter {
		of := map[kind]prometheus.Counter{}
		for _, k := range kinds {
			of[k] = answers.WithLabelValues(server, string(k))
		}
		return of
	})[k].Inc()
}
