package plugins

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/corefile"
)

// resolver answers each A query with its next address, and the TTL of its name; while
// silent it answers nothing.
type resolver struct {
	silent atomic.Bool
	asked  atomic.Int32
}

func (r *resolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if r.silent.Load() {
		return
	}
	var ttl uint32
	fmt.Sscanf(strings.ToLower(q.Question[0].Name), "ttl%d.", &ttl)
	m := new(dns.Msg).SetReply(q)
	m.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl},
		A:   net.IPv4(192, 0, 2, byte(r.asked.Add(1))),
	}}
	w.WriteMsg(m)
}

// The cache of the Corefile that we ship keeps TTLs as they come, a day at most; it gives
// an expired answer only where the resolver is silent, and never before it was asked.
func TestShippedCache(t *testing.T) {
	blocks := regexp.MustCompile(`(?s)\n    cache \{.*?\n    \}\n`).FindAllString(string(corefile.Shipped), -1)
	if len(blocks) != 2 {
		t.Fatalf("the Corefile has %d caches with a block, want 2", len(blocks))
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &resolver{}
	upstream := &dns.Server{PacketConn: pc, Handler: r}
	go upstream.ActivateAndServe()
	defer upstream.Shutdown()
	text := fmt.Sprintf(".:0 {\n    bind 127.0.0.1%s    forward . %s\n}\n", blocks[0], pc.LocalAddr())
	inst, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { inst.ShutdownCallbacks(); inst.Stop() }()
	ask := func(name string) (addr string, ttl uint32) {
		t.Helper()
		c := dns.Client{Timeout: 10 * time.Second}
		m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), inst.Servers()[0].LocalAddr().String())
		if err != nil || len(m.Answer) != 1 {
			t.Fatalf("%s: %v, %v", name, m, err)
		}
		return m.Answer[0].(*dns.A).A.String(), m.Answer[0].Header().Ttl
	}
	for range 3 {
		if _, ttl := ask("ttl0.example."); ttl != 0 {
			t.Errorf("TTL 0 becomes %d", ttl)
		}
	}
	if n := r.asked.Load(); n != 3 {
		t.Errorf("a name with TTL 0 was asked %d times of 3", n)
	}
	if _, ttl := ask("ttl80000.example."); ttl != 80000 {
		t.Errorf("TTL 80000 becomes %d", ttl)
	}
	if _, ttl := ask("ttl90000.example."); ttl > 86400 {
		t.Errorf("TTL 90000 becomes %d, want a day at most", ttl)
	}

	before, _ := ask("ttl1.example.")
	time.Sleep(2 * time.Second) // until it has expired
	now, _ := ask("ttl1.example.")
	if now == before {
		t.Error("an expired answer is given while the resolver is well")
	}
	time.Sleep(2 * time.Second)
	r.silent.Store(true)
	if addr, ttl := ask("ttl1.example."); addr != now || ttl != 30 {
		t.Errorf("while the resolver is silent: %s with TTL %d, want %s with 30", addr, ttl, now)
	}
}
