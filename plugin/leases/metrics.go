package leases

import (
	"context"

	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var log = clog.NewWithPlugin(name)

var (
	// entries is the number of named addresses in a file.
	entries = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "entries",
		Help:      "Addresses of clients with a name in a lease file.",
	}, []string{"file"})
	// answers counts queries answered from leases.
	answers = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "answers_total",
		Help:      "Counter of queries answered from leases, including denials in the domain.",
	}, []string{"server"})
)

func (l *Leases) count(ctx context.Context) {
	l.counter.Of(ctx, func(server string) prometheus.Counter { return answers.WithLabelValues(server) }).Inc()
}
