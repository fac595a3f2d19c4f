package daemon

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// CoreDNS's reload plugin registers these two metrics but never changes them here, because
// it restarts nothing. We do, so that existing alerts on them work.
var (
	reloadFailed = registered(prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "coredns", Subsystem: "reload", Name: "failed_total",
		Help: "Counter of the number of failed reload attempts.",
	}))
	reloadVersion = registered(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "coredns", Subsystem: "reload", Name: "version_info",
		Help: "A metric with a constant '1' value labeled by hash, and value which type of hash generated.",
	}, []string{"hash", "value"}))
)

// registered returns the collector that is registered for the same metric, or this one.
func registered[C prometheus.Collector](c C) C {
	var already prometheus.AlreadyRegisteredError
	if errors.As(prometheus.Register(c), &already) {
		if have, ok := already.ExistingCollector.(C); ok {
			return have
		}
	}
	return c
}

// countRestart records the Corefile that is served now, with what it imports.
func countRestart(corefile []byte) {
	sum := sha512.Sum512(corefile)
	reloadVersion.Reset()
	reloadVersion.WithLabelValues("sha512", hex.EncodeToString(sum[:])).Set(1)
}
