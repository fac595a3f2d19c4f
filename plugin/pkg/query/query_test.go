package query

import (
	"context"
	"testing"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/metrics"
	"github.com/miekg/dns"
)

func TestPerServer(t *testing.T) {
	var p PerServer[*string]
	made := 0
	ask := func(addr string) *string {
		ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: addr})
		if got := metrics.WithServer(ctx); got != addr {
			t.Fatalf("CoreDNS tells server %q of %q", got, addr)
		}
		return p.Of(ctx, func(server string) *string { made++; return &server })
	}
	for _, addr := range []string{"dns://:53", "dns://:53", "tls://:853", "dns://:53"} {
		if got := *ask(addr); got != addr {
			t.Errorf("metrics of %q for a query to %q", got, addr)
		}
	}
	if made != 3 {
		t.Errorf("made %d times, want at each change: 3", made)
	}
	ctx := context.WithValue(t.Context(), dnsserver.Key{}, &dnsserver.Server{Addr: "dns://:53"})
	if n := testing.AllocsPerRun(100, func() { p.Of(ctx, func(server string) *string { made++; return &server }) }); n != 0 {
		t.Errorf("%v allocations for a query to the same server", n)
	}
}

func TestOfHosts(t *testing.T) {
	for qtype, want := range map[uint16]bool{
		dns.TypeA: true, dns.TypeAAAA: true, dns.TypeHTTPS: true, dns.TypePTR: true, dns.TypeTXT: true, dns.TypeANY: true,
		dns.TypeDS: false, dns.TypeDNSKEY: false, dns.TypeNS: false, dns.TypeSOA: false, dns.TypeCAA: false, dns.TypeZONEMD: false,
	} {
		if got := OfHosts(qtype); got != want {
			t.Errorf("%s: %v, want %v", dns.TypeToString[qtype], got, want)
		}
	}
}
