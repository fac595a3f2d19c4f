package coredns

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/stream"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
)

// limits are those of clients' connections.
type limits struct {
	streams *stream.Bounds // of DNS over TCP and TLS
	others  *stream.Bounds // of gRPC, and of HTTPS with PROXY protocol before it
}

// maxPerClientOfOthers leaves room for other clients in the 200 connections that CoreDNS
// accepts for gRPC, if not told otherwise.
const maxPerClientOfOthers = 50

func newLimits() limits {
	l := limits{streams: stream.NewBounds(logEvicted), others: stream.NewBounds(logEvicted)}
	l.others.PerClient = min(l.others.PerClient, maxPerClientOfOthers)
	return l
}

var evicted = promauto.NewCounter(prometheus.CounterOpts{
	Namespace: "coredns", Subsystem: "nameroute", Name: "evicted_connections_total",
	Help: "Connections of clients that were closed because there were too many.",
})

// evictions are logged once a minute for each client.
var evictions = logonce.Every{Interval: time.Minute}

func logEvicted(client netip.Addr) {
	evicted.Inc()
	if ok, n := evictions.Allow(client.String()); ok {
		slog.Warn("too many connections, closed the one that was idle for longest", "part", "resolver", "client", client, "others_since", n)
	}
}
