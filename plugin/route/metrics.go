package route

import (
	"context"
	"errors"

	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var log = clog.NewWithPlugin(name)

var (
	// answers counts answers with addresses, by what became of them.
	answers = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "answers_total",
		Help:      "Counter of answers with addresses, by route and by whether the kernel has them (learned), refused them (error), or the client brought in too many (limited).",
	}, []string{"server", "route", "result"})
	// learned counts the addresses in them.
	learned = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "addresses_total",
		Help:      "Counter of addresses in answers, those that were in the route's sets already included.",
	}, []string{"server", "route"})
)

// counters are the metrics of one server.
type counters struct {
	learned, refused, included prometheus.Counter
	limited                    prometheus.Counter
}

// countersOf returns the metrics of the server that was queried.
func (r *Route) countersOf(ctx context.Context) *counters {
	return r.counters.Of(ctx, func(server string) *counters {
		to := r.route
		return &counters{
			answers.WithLabelValues(server, to, "learned"), answers.WithLabelValues(server, to, "error"),
			learned.WithLabelValues(server, to), answers.WithLabelValues(server, to, "limited"),
		}
	})
}

// count counts one answer with n addresses.
func (r *Route) count(ctx context.Context, n int, err error) {
	c := r.countersOf(ctx)
	if errors.Is(err, errLimit) {
		c.limited.Inc()
		return
	}
	if err != nil {
		c.refused.Inc()
		return
	}
	c.learned.Inc()
	c.included.Add(float64(n))
}
