package test

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 4: kill switch.
// With `on_down: wan` new flows and queries take the WAN while the tunnel is down,
// with short answers, and flows of the tunnel stay closed. When it is back, so is
// everything, and flows that began via the WAN end there.
func TestFallBackToWAN(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		cut, mend func(*gate)
	}{
		{"far end silent", func(g *gate) { g.Tunnel.Silence(true) }, func(g *gate) { g.Tunnel.Silence(false) }},
		{"link taken by another program", func(g *gate) {
			// The link goes, and cannot be made again: another program has its name.
			g.Box.Sh("ip link set wg0 name old0; ip link add wg0 type bridge")
		}, func(g *gate) { g.Box.Sh("ip link del wg0; ip link set old0 name wg0 2>/dev/null || true") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, netlab.Setup{OnDown: "wan"}, quickDown...)
			kept, fresh := g.resolve("kept.listed.example"), g.resolve("fresh.listed.example")
			// Before the tunnel is made for the first time the WAN is asked, too.
			g.awaitVia(g.Client, netlab.ViaVPN, 5*time.Second, fresh...)
			flows := g.flows(g.Client, netlab.ViaVPN, kept...)
			g.wantTTL("cached.listed.example", 11, 300)

			g.Reset()
			cut := time.Now()
			c.cut(g)
			g.p.WaitOutput("new flows and queries of the route take the WAN", 8*time.Second)
			t.Logf("noticed after %v", time.Since(cut).Round(time.Millisecond))
			g.Box.AwaitNames("ready.listed.example", 5*time.Second)
			g.awaitVia(g.Client, netlab.ViaWAN, 5*time.Second, fresh...)
			t.Logf("new flows go via the WAN after %v", time.Since(cut).Round(time.Millisecond))
			g.wantVia(g.Client, netlab.ViaWAN, fresh...)
			g.wantVia(g.Box.Host, netlab.ViaWAN, fresh...)
			g.wantTTL("asked-while-down.listed.example", 1, gateway.FallbackMaxTTL)
			down := g.resolve("asked-while-down.listed.example")
			g.wantVia(g.Client, netlab.ViaWAN, down...)
			g.wantQueriesBy("asked-while-down.listed.example", netlab.ViaWAN)
			byWAN := g.flows(g.Client, netlab.ViaWAN, down...)
			g.wantNoneClear(kept...) // what began via the tunnel

			back := time.Now()
			c.mend(g)
			g.awaitVia(g.Client, netlab.ViaVPN, 8*time.Second, fresh...)
			t.Logf("new flows go via the tunnel again after %v", time.Since(back).Round(time.Millisecond))
			g.wantVia(g.Client, netlab.ViaVPN, append(fresh, down...)...)
			g.wantVia(g.Box.Host, netlab.ViaVPN, append(fresh, down...)...)
			byWAN.wantProgress()
			flows.wantProgress()
			g.wantNoneClear(kept...)
			tcp, udp := flows.worst()
			t.Logf("flows of the tunnel: longest gap over TCP %v, over UDP %v", tcp, udp)
			g.Reset()
			g.Box.AwaitNames("ready.listed.example", 5*time.Second)
			g.resolve("asked-again.listed.example")
			g.wantQueriesBy("asked-again.listed.example", netlab.ViaVPN)
			g.wantNoQueryByWAN("asked-again.listed.example")
		})
	}
}

// wantTTL queries both families and looks at the TTL of each answer.
func (g *gate) wantTTL(name string, least, most uint32) {
	g.t.Helper()
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		for _, proto := range []string{"udp", "tcp"} {
			reply, err := g.Client.Query(new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype), proto)
			if err != nil || len(reply.Answer) == 0 {
				g.t.Errorf("%s %s over %s: %v, %v", name, dns.TypeToString[qtype], proto, reply, err)
				continue
			}
			if ttl := reply.Answer[0].Header().Ttl; ttl < least || ttl > most {
				g.t.Errorf("%s %s over %s: TTL %d, want %d to %d", name, dns.TypeToString[qtype], proto, ttl, least, most)
			}
		}
	}
}
