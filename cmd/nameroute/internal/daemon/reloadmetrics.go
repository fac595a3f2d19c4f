package daemon

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// CoreDNS's reload plugin registers these two metrics and, as it restarts nothing here,
// never moves them. Whoever has rules on them has them moved by us.
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

// registered is the collector of that description that is registered already, or this one.
func registered[C prometheus.Collector](c C) C {
	var already prometheus.AlreadyRegisteredError
	if errors.As(prometheus.Register(c), &already) {
		if have, ok := already.ExistingCollector.(C); ok {
			return have
		}
	}
	return c
}

// countRestart notes the Corefile that is served now, with what it imports.
func countRestart(corefile []byte) {
	sum := sha512.Sum512(corefile)
	reloadVersion.Reset()
	reloadVersion.WithLabelValues("sha512", hex.EncodeToString(sum[:])).Set(1)
}
