package rebind

import (
	"context"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var log = clog.NewWithPlugin(name)

// filtered counts answers that held an address of the home.
var filtered = promauto.NewCounterVec(prometheus.CounterOpts{
	Namespace: plugin.Namespace,
	Subsystem: name,
	Name:      "filtered_total",
	Help:      "Counter of answers out of which addresses of the home were taken.",
}, []string{"server"})

// counter is the metric of one server, so that a query looks up no labels.
type counter struct {
	server   string
	filtered prometheus.Counter
}

func (b *Rebind) count(ctx context.Context) {
	server := metrics.WithServer(ctx)
	c := b.counter.Load()
	if c == nil || c.server != server {
		c = &counter{server, filtered.WithLabelValues(server)}
		b.counter.Store(c)
	}
	c.filtered.Inc()
}
