package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/forward"
	"github.com/coredns/coredns/plugin/pkg/proxy"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// echo answers every datagram with a copy of itself that is marked as a reply, so
// that the benchmark measures the forwarder and not the resolver.
func echo(b *testing.B) string {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	conn := pc.(*net.UDPConn)
	roomy(b, pc)
	b.Cleanup(func() { pc.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			buf[2] |= 0x80
			conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	return pc.LocalAddr().String()
}

type handler interface {
	ServeDNS(context.Context, dns.ResponseWriter, *dns.Msg) (int, error)
}

func benchmark(b *testing.B, h handler, parallelism int) {
	b.ReportAllocs()
	b.SetParallelism(parallelism)
	var n, failed atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		w := &test.ResponseWriter{}
		for pb.Next() {
			m := ask(fmt.Sprintf("n%d.example.org.", n.Add(1)), dns.TypeA)
			if code, err := h.ServeDNS(context.Background(), w, m); err != nil || code != dns.RcodeSuccess {
				failed.Add(1)
			}
		}
	})
	b.StopTimer()
	if failed.Load() > int64(b.N)/100 {
		b.Fatalf("%d of %d failed", failed.Load(), b.N)
	}
}

// BenchmarkExchange compares with the stock forwarder in the same run: one
// query after the other, and many at once.
func BenchmarkExchange(b *testing.B) {
	for _, parallelism := range []int{1, 100} {
		b.Run(fmt.Sprintf("upstream/udp-%d", parallelism), func(b *testing.B) {
			benchmark(b, forwarder(b, nil, echo(b)), parallelism)
		})
		b.Run(fmt.Sprintf("forward/udp-%d", parallelism), func(b *testing.B) {
			f := forward.New()
			p := proxy.NewProxy("forward", echo(b), "dns")
			f.SetProxy(p)
			defer p.Stop()
			benchmark(b, f, parallelism)
		})
	}
	ca := newAuthority(b)
	cfg := func() *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.sign(b, time.Now().Add(time.Hour), []string{"dns.example.org"})}}
	}
	b.Run("upstream/tls-100", func(b *testing.B) {
		addr, _ := serveTLS(b, cfg(), answerWith("192.0.2.1"))
		benchmark(b, forwarder(b, func(o *options) { o.trust.Config = &tls.Config{RootCAs: ca.pool} }, tlsAddr(addr, "dns.example.org")), 100)
	})
	b.Run("forward/tls-100", func(b *testing.B) {
		addr, _ := serveTLS(b, cfg(), answerWith("192.0.2.1"))
		f := forward.New()
		p := proxy.NewProxy("forward", addr, "tls")
		p.SetTLSConfig(&tls.Config{RootCAs: ca.pool, ServerName: "dns.example.org"})
		f.SetProxy(p)
		defer p.Stop()
		benchmark(b, f, 100)
	})
}
