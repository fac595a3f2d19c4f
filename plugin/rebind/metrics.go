package rebind

import (
	"context"

	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var log = clog.NewWithPlugin(name)

// filtered counts answers from which private addresses were removed.
var filtered = promauto.NewCounterVec(prometheus.CounterOpts{
	Namespace: plugin.Namespace,
	Subsystem: name,
	Name:      "filtered_total",
	Help:      "Counter of answers from which private addresses were removed.",
}, []string{"server"})

func (b *Rebind) count(ctx context.Context) {
	b.counter.Of(ctx, func(server string) prometheus.Counter { return filtered.WithLabelValues(server) }).Inc()
}
