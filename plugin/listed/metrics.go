package listed

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/nameroute/nameroute/plugin/pkg/aliases"
)

var log = clog.NewWithPlugin(name)

var (
	// queryCount counts what the view chose its block for.
	queryCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "queries_total",
		Help:      "Counter of queries for names on the lists of a block.",
	}, []string{"server", "view"})
	// aliasNames counts the records that lead to another name.
	aliasNames = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "alias_names_total",
		Help:      "Counter of records in answers that lead from a listed name to a name on no list.",
	}, []string{"view"})
	// refusedAnswers counts answers whose aliases are more than fit.
	refusedAnswers = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: name,
		Name:      "refused_answers_total",
		Help:      "Counter of answers that got SERVFAIL because of their aliases, by bound: of one client (client), of the names of one domain (domain), or of all (all).",
	}, []string{"view", "bound"})
)

// count counts a query of the block, and returns its server's counter.
func (l *Listed) count(ctx context.Context) prometheus.Counter {
	l.queries.Add(1)
	c := l.counter.Of(ctx, func(server string) prometheus.Counter { return queryCount.WithLabelValues(server, l.view) })
	c.Inc()
	return c
}

// refuse counts and logs an answer that is not given.
func (l *Listed) refuse(asked string, err error) {
	bound := "client"
	switch {
	case errors.Is(err, aliases.ErrShare):
		bound = "domain"
	case errors.Is(err, aliases.ErrFull):
		bound = "all"
	}
	refusedAnswers.WithLabelValues(l.view, bound).Inc()
	if ok, more := l.refusals.Allow(bound); ok {
		log.Errorf("%s gets SERVFAIL, the names that it leads to would be queried via the WAN: %v (%d more since the last line)", asked, err, more)
	}
}

// blocks are the queries of each server block since the process started, by its keys and
// lists: CoreDNS builds the plugin again with each reload.
var blocks sync.Map // *atomic.Uint64

func queriesOf(keys, lists []string) *atomic.Uint64 {
	n, _ := blocks.LoadOrStore(strings.Join(keys, " ")+" listed "+strings.Join(lists, " "), new(atomic.Uint64))
	return n.(*atomic.Uint64)
}
