package listed

import (
	"context"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"
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

// counter is the metric of one server, so that a query looks up no labels.
type counter struct {
	server  string
	queries prometheus.Counter
}

func (l *Listed) count(ctx context.Context) {
	server := metrics.WithServer(ctx)
	c := l.counter.Load()
	if c == nil || c.server != server {
		c = &counter{server, queries.WithLabelValues(server, l.view)}
		l.counter.Store(c)
	}
	c.queries.Inc()
}
