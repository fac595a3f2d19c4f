package chain

import (
	"time"

	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/nameroute/nameroute/gateway/pkg/logonce"
)

var log = clog.NewWithPlugin("nameroute")

// removedRecords counts what Clean removed from answer sections.
var removedRecords = promauto.NewCounterVec(prometheus.CounterOpts{
	Namespace: plugin.Namespace,
	Subsystem: "nameroute",
	Name:      "removed_records_total",
	Help:      "Counter of records removed from answers of routed names, by why: foreign (of names that the query does not lead to) or surplus (more than one answer may bring).",
}, []string{"why"})

// reports limits the log lines: each answer of one resolver may have such records.
var reports = logonce.Every{Interval: time.Minute}

func report(name string, gone removed) {
	for _, r := range []struct {
		why, text string
		records   int
	}{
		{"foreign", "answer for %s: removed what belongs to other names (records: %d; %d more such answers since the last line)", gone.foreign},
		{"surplus", "answer for %s: removed addresses or targets beyond what one answer may bring (records: %d; %d more such answers since the last line)", gone.surplus},
	} {
		if r.records == 0 {
			continue
		}
		removedRecords.WithLabelValues(r.why).Add(float64(r.records))
		if ok, more := reports.Allow(r.why); ok {
			log.Warningf(r.text, name, r.records, more)
		}
	}
}
