// Package query holds what plugins share about the query that they answer. It knows
// nothing of gateway.yaml or of the kernel.
package query

import (
	"context"
	"sync/atomic"

	"github.com/coredns/coredns/plugin/metrics"
	"github.com/miekg/dns"
)

// PerServer caches a plugin's metrics of the last queried server, so that a query looks
// up no labels: an instance of a plugin serves one block, and mostly one listener. The
// zero value is ready; it may be used concurrently.
type PerServer[T any] struct {
	last atomic.Pointer[serverMetrics[T]]
}

type serverMetrics[T any] struct {
	server  string
	metrics T
}

// Of returns the metrics of the server that received ctx's query, labelled as CoreDNS's
// own metrics. Where that is not the last one, make makes them.
func (p *PerServer[T]) Of(ctx context.Context, make func(server string) T) T {
	server := metrics.WithServer(ctx)
	m := p.last.Load()
	if m == nil || m.server != server {
		m = &serverMetrics[T]{server, make(server)}
		p.last.Store(m)
	}
	return m.metrics
}

// OfHosts reports whether a type is queried of hosts, and not only of zones as validating
// resolvers and certificate authorities do: a host of the LAN that is called "com" must
// not answer for the top-level domain's DS or CAA.
func OfHosts(qtype uint16) bool {
	switch qtype {
	case dns.TypeDS, dns.TypeDNSKEY, dns.TypeNS, dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3,
		dns.TypeNSEC3PARAM, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeCSYNC, dns.TypeZONEMD, dns.TypeCAA:
		return false
	}
	return true
}
