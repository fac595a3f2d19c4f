package upstream

import (
	"strconv"
	"sync"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

const subsystem = "upstream"

// Variables declared for monitoring.
var (
	requestCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "requests_total",
		Help: "Counter of queries sent to a resolver.",
	}, []string{"route", "to", "proto"})

	requestDuration = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "request_duration_seconds",
		Buckets:                     plugin.TimeBuckets,
		NativeHistogramBucketFactor: plugin.NativeHistogramBucketFactor,
		Help:                        "Histogram of the time until a resolver's reply.",
	}, []string{"route", "to", "proto", "rcode"})

	healthyGauge = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "healthy",
		Help: "Gauge of whether a resolver is healthy: 1 or 0.",
	}, []string{"route", "to"})

	healthcheckFailureCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "healthcheck_failures_total",
		Help: "Counter of failed health checks.",
	}, []string{"route", "to"})

	tcpRetryCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "tcp_retries_total",
		Help: "Counter of queries sent again over TCP.",
	}, []string{"route", "to", "reason"})

	mismatchCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "mismatched_replies_total",
		Help: "Counter of messages from a resolver's address that answer no query in flight.",
	}, []string{"route", "to", "reason"})

	failureCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "failures_total",
		Help: "Counter of queries that a resolver did not answer.",
	}, []string{"route", "to", "reason"})

	coalescedCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "coalesced_total",
		Help: "Counter of queries answered with the reply to an identical one in flight.",
	}, []string{"route"})

	inFlightGauge = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "in_flight",
		Help: "Gauge of queries that wait for an answer.",
	}, []string{"route"})

	fallbackCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "fallbacks_total",
		Help: "Counter of queries answered via the WAN while the route was down.",
	}, []string{"route"})

	hedgeCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "hedges_total",
		Help: "Counter of queries sent to another resolver while one was silent.",
	}, []string{"route"})

	refusalCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "down_refusals_total",
		Help: "Counter of queries failed at once because the route was down.",
	}, []string{"route"})

	withoutIPv6Count = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "without_ipv6_total",
		Help: "Counter of AAAA queries answered NODATA because the route has no IPv6.",
	}, []string{"route"})

	maxConcurrentRejectCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace, Subsystem: subsystem, Name: "max_concurrent_rejects_total",
		Help: "Counter of queries refused because max_concurrent were in flight.",
	}, []string{"route"})
)

// routeMetrics are the counters of one forwarder, looked up once.
type routeMetrics struct {
	coalesced, fallbacks, hedges, refusals, withoutIPv6, rejects prometheus.Counter
	inFlight                                                     prometheus.Gauge
}

func newRouteMetrics(route string) routeMetrics {
	return routeMetrics{
		coalesced:   coalescedCount.WithLabelValues(route),
		fallbacks:   fallbackCount.WithLabelValues(route),
		hedges:      hedgeCount.WithLabelValues(route),
		refusals:    refusalCount.WithLabelValues(route),
		withoutIPv6: withoutIPv6Count.WithLabelValues(route),
		rejects:     maxConcurrentRejectCount.WithLabelValues(route),
		inFlight:    inFlightGauge.WithLabelValues(route),
	}
}

// resolverMetrics are the counters of one resolver, looked up once.
type resolverMetrics struct {
	route, to           string
	healthy             prometheus.Gauge
	healthcheckFailures prometheus.Counter
}

func newResolverMetrics(route, to string) *resolverMetrics {
	return &resolverMetrics{
		route: route, to: to,
		healthy:             healthyGauge.WithLabelValues(route, to),
		healthcheckFailures: healthcheckFailureCount.WithLabelValues(route, to),
	}
}

func (m *resolverMetrics) tcpRetry(reason string) {
	tcpRetryCount.WithLabelValues(m.route, m.to, reason).Inc()
}

func (m *resolverMetrics) failure(reason string) {
	failureCount.WithLabelValues(m.route, m.to, reason).Inc()
}

func (m *resolverMetrics) mismatch(v wire.Verdict) {
	mismatchCount.WithLabelValues(m.route, m.to, string(v)).Inc()
}

// poolMetrics are the counters of one resolver over one protocol.
type poolMetrics struct {
	requests  prometheus.Counter
	durations prometheus.ObserverVec
	byRcode   sync.Map // prometheus.Observer
	traffic   traffic
}

func newPoolMetrics(route, to, proto string) *poolMetrics {
	return &poolMetrics{
		requests:  requestCount.WithLabelValues(route, to, proto),
		durations: requestDuration.MustCurryWith(prometheus.Labels{"route": route, "to": to, "proto": proto}),
	}
}

func (m *poolMetrics) reply(rcode int, took time.Duration) {
	m.traffic.heard(took)
	o, ok := m.byRcode.Load(rcode)
	if !ok {
		name, known := dns.RcodeToString[rcode]
		if !known {
			name = strconv.Itoa(rcode)
		}
		o, _ = m.byRcode.LoadOrStore(rcode, m.durations.WithLabelValues(name))
	}
	o.(prometheus.Observer).Observe(took.Seconds())
}
