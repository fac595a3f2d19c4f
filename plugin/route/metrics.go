package route

import (
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
		Help:      "Counter of answers with addresses, by route and by whether the kernel has them (learned) or refused them (error).",
	}, []string{"server", "route", "result"})
	// learned counts the addresses in them.
	learned = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "addresses_total",
		Help:      "Counter of addresses in answers, those that were in the route's sets already included.",
	}, []string{"server", "route"})
)
