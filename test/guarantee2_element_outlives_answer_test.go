package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 2: an element outlives its answer.
// Whatever TTL an answer is served with, its address stays in the set for that and the
// grace, for the floor at least and for the ceiling at most. Answers from the cache prolong
// an element that would lapse first, and a short answer takes nothing from a long one.
func TestElementOutlivesItsAnswer(t *testing.T) {
	t.Parallel()
	const floor, grace, ceiling = 4 * time.Second, 2 * time.Second, 10 * time.Minute
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Gateway: fmt.Sprintf("lifetime: {floor: %s, grace: %s, ceiling: %s}", floor, grace, ceiling)})
	// The cache would otherwise make more of a short TTL and less of a long one.
	g.Box.Write("Corefile", strings.ReplaceAll(g.read("Corefile"), "    cache\n", "    cache {\n        success 9984 86400 0\n    }\n"))
	for name, ttl := range map[string]uint32{"short": 2, "long": 300, "day": 86400} {
		g.World.TTL(name+".listed.example", ttl)
	}
	shared := g.World.Addresses("shared.example").V4
	g.World.Add("lasting.listed.example. 300 IN A "+shared.String(), "fleeting.listed.example. 2 IN A "+shared.String())
	g.start()
	g.Reset()

	if _, most, _ := g.wantOutlived("short.listed.example"); most < floor-time.Second {
		t.Errorf("the element lives for another %v, want the floor, %v", most, floor)
	}
	if ttl, most, least := g.wantOutlived("long.listed.example"); ttl != 300*time.Second || least > ttl+grace || most < ttl {
		t.Errorf("a TTL of 300 s was served as %v, and the element lives for another %v, want the grace, %v, more", ttl, most, grace)
	}
	if ttl, _, least := g.wantOutlived("day.listed.example"); ttl > ceiling-grace || least > ceiling {
		t.Errorf("a TTL of a day was served as %v, and the element lives for another %v; want at most %v and %v", ttl, least, ceiling-grace, ceiling)
	}
	g.wantOutlived("lasting.listed.example")
	g.wantOutlived("fleeting.listed.example")
	if left := g.left(shared); left < 290*time.Second {
		t.Errorf("a short answer has shortened the element to %v", left)
	}

	// For twice the floor the client uses an address for as long as the answers allow it.
	for began := time.Now(); time.Since(began) < 2*floor; time.Sleep(200 * time.Millisecond) {
		g.wantOutlived("short.listed.example")
	}
	g.wantNoneClear(g.addresses("short.listed.example", "long.listed.example", "day.listed.example")...)
}

// wantOutlived queries a name and wants its address in the set for longer than the answer
// allows the client to use it. It returns the TTL served, and what was left of the element at
// most and at least when it was.
func (g *gate) wantOutlived(name string) (ttl, most, least time.Duration) {
	g.t.Helper()
	began := time.Now()
	record, ok := g.query(name, dns.TypeA, "udp").Answer[0].(*dns.A)
	if !ok {
		g.t.Fatalf("%s: no A record", name)
	}
	a, _ := netip.AddrFromSlice(record.A.To4())
	ttl, least = time.Duration(record.Hdr.Ttl)*time.Second, g.left(a)
	if most = least + time.Since(began); most <= ttl {
		g.t.Errorf("%s: a TTL of %v was served, and the element lives for another %v", name, ttl, most)
	}
	g.wantVia(g.Client, netlab.ViaVPN, a)
	return ttl, most, least
}
