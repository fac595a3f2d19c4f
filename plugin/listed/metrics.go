package listed

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
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
)

// count counts a query of the block.
func (l *Listed) count(ctx context.Context) {
	l.queries.Add(1)
	l.counter.Of(ctx, func(server string) prometheus.Counter { return queryCount.WithLabelValues(server, l.view) }).Inc()
}

// blocks are the queries of each server block since the process started, by its keys and
// lists: CoreDNS builds the plugin again with each reload.
var blocks sync.Map // *atomic.Uint64

func queriesOf(keys, lists []string) *atomic.Uint64 {
	n, _ := blocks.LoadOrStore(strings.Join(keys, " ")+" listed "+strings.Join(lists, " "), new(atomic.Uint64))
	return n.(*atomic.Uint64)
}
