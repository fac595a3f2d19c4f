// Package query holds what the plugins that answer share about one query. It knows
// nothing of gateway.yaml or of the kernel.
package query

import (
	"context"
	"sync/atomic"

	"github.com/coredns/coredns/plugin/metrics"
	"github.com/miekg/dns"
)

// PerServer keeps a plugin's metrics of the server that was asked last, so that a query
// looks up no labels: an instance of a plugin serves one block, and mostly one listener.
// The zero value is ready; it may be used concurrently.
type PerServer[T any] struct{ last atomic.Pointer[ofServer[T]] }

type ofServer[T any] struct {
	server  string
	metrics T
}

// Of returns the metrics of the server that ctx's query came to, as CoreDNS's metrics
// name it. Where that is not the last one, make makes them.
func (p *PerServer[T]) Of(ctx context.Context, make func(server string) T) T {
	server := metrics.WithServer(ctx)
	m := p.last.Load()
	if m == nil || m.server != server {
		m = &ofServer[T]{server, make(server)}
		p.last.Store(m)
	}
	return m.metrics
}

// OfHosts tells types that are asked of hosts from those that validating resolvers and
// certificate authorities ask of top-level domains: a machine at home that is called
// "com" takes nothing from anybody but itself.
func OfHosts(qtype uint16) bool {
	switch qtype {
	case dns.TypeDS, dns.TypeDNSKEY, dns.TypeNS, dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3,
		dns.TypeNSEC3PARAM, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeCSYNC, dns.TypeZONEMD, dns.TypeCAA:
		return false
	}
	return true
}

// Reply is the beginning of an answer to r out of what is known here.
func Reply(r *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	m.RecursionAvailable = true // of what is not ours; dig and some stubs complain else
	return m
}
