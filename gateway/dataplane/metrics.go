package dataplane

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics stand beside those of the plugin route, under CoreDNS's namespace.
const namespace, subsystem = "coredns", "route"

var (
	setFull = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "set_full_total",
		Help: "Counter of the times that a set was full when an address was to be added, counted at most every 250 ms.",
	}, []string{"set"})
	setReclaimed = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "set_reclaimed_total",
		Help: "Counter of addresses that were removed from a full set because no valid answer holds them.",
	}, []string{"set"})
	evictedFlows = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "evicted_flows_total",
		Help: "Counter of flows that were reset because their address joined a route.",
	}, []string{"route"})
	groupMoves = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "group_moves_total",
		Help: "Counter of the times that a group began to leave by other members.",
	}, []string{"route"})
)
