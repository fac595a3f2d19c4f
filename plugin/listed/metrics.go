package listed

import (
	"context"

	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var log = clog.NewWithPlugin(name)

var (
	// queries counts what the view chose its block for.
	queries = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "queries_total",
		Help:      "Counter of queries for names on the lists of a block.",
	}, []string{"server", "view"})
	// ledTo counts the records that led to another name.
	ledTo = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "led_to_names_total",
		Help:      "Counter of records in answers that led from a listed name to a name on no list.",
	}, []string{"view"})
)

func (l *Listed) count(ctx context.Context) {
	l.counter.Of(ctx, func(server string) prometheus.Counter { return queries.WithLabelValues(server, l.view) }).Inc()
}
