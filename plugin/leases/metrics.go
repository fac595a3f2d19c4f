package leases

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
	// entries counts what a file holds.
	entries = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "entries",
		Help:      "Addresses of clients with a name in a lease file.",
	}, []string{"file"})
	// answers counts what was answered from them.
	answers = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "answers_total",
		Help:      "Counter of queries answered from leases, names in the domain that are not there included.",
	}, []string{"server"})
)

// counter is the metric of one server, so that a query looks up no labels.
type counter struct {
	server  string
	answers prometheus.Counter
}

func (l *Leases) count(ctx context.Context) {
	server := metrics.WithServer(ctx)
	c := l.counter.Load()
	if c == nil || c.server != server {
		c = &counter{server, answers.WithLabelValues(server)}
		l.counter.Store(c)
	}
	c.answers.Inc()
}
