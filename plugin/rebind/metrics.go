package rebind

import (
	"context"

	"github.com/coredns/coredns/plugin"
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

func (b *Rebind) count(ctx context.Context) {
	b.counter.Of(ctx, func(server string) prometheus.Counter { return filtered.WithLabelValues(server) }).Inc()
}
