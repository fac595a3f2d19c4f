package test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// upstreams of a block as the Corefile has them, by what they are.
func (g *gate) upstreams() map[string]string {
	world, unbound := netlab.WorldServerName, netlab.UnboundServerName
	tls := func(a netip.Addr, name string) string {
		if a.Is6() {
			return fmt.Sprintf("tls://[%s]%%%s", a, name)
		}
		return fmt.Sprintf("tls://%s%%%s", a, name)
	}
	return map[string]string{
		"world":             g.Plan.World.V4.String(),
		"world over IPv6":   g.Plan.World.V6.String(),
		"world over TCP":    g.Plan.World.V4.String() + " {\n        force_tcp\n    }",
		"world over TLS":    tls(g.Plan.World.V4, world),
		"unbound":           g.Plan.Unbound.V4.String(),
		"unbound over TCP":  g.Plan.Unbound.V6.String() + " {\n        force_tcp\n    }",
		"unbound over TLS":  tls(g.Plan.Unbound.V4, unbound),
		"unbound over TLS6": tls(g.Plan.Unbound.V6, unbound),
		"dnsmasq":           g.Plan.ISP.V4.String(),
		"dnsmasq over IPv6": g.Plan.ISP.V6.String(),
		"dnsmasq over TCP":  g.Plan.ISP.V4.String() + " {\n        force_tcp\n    }",
		"provider":          "", // the resolvers of the provider's file, or of the system
	}
}

// A name's queries are seen on its own side only, whatever resolver is asked and
// however. Both blocks may even ask the same one.
func TestQueriesStayOnTheirSide(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ vpn, wan string }{
		{"world", "dnsmasq"},
		{"world over IPv6", "unbound over TLS"},
		{"world over TCP", "dnsmasq over TCP"},
		{"world over TLS", "world"},
		{"unbound", "unbound"},
		{"unbound over TCP", "dnsmasq over IPv6"},
		{"unbound over TLS", "unbound over TLS6"},
		{"provider", "provider"},
	} {
		t.Run(c.vpn+", "+c.wan, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{})
			up := g.upstreams()
			g.Box.WriteFiles(netlab.Setup{})
			g.Box.Write("Corefile", fmt.Sprintf(". {\n    listed mine\n    route vpn\n    cache\n    upstream vpn %s\n}\n"+
				". {\n    cache\n    upstream wan %s\n}\n", up[c.vpn], up[c.wan]))
			g.start()
			g.Reset()
			for i, proto := range protos {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeTXT} {
					g.query(fmt.Sprintf("n%d.listed.example", i), qtype, proto)
					g.query(fmt.Sprintf("n%d.other.example", i), qtype, proto)
				}
			}
			g.wantAsked(netlab.ViaVPN, g.askedOfResolvers("listed.example"))
			g.wantAsked(netlab.ViaWAN, g.askedOfResolvers("other.example"))
			g.wantNoQueryByWAN("listed.example")
			if inside := g.Tunnel.Tap.Packets(wire.Asks("other.example")); len(inside) > 0 {
				t.Errorf("%d queries of other names in the tunnel, the first: %s", len(inside), inside[0])
			}
			g.wantOnlyTo(c.vpn, c.wan)
		})
	}
}

// askedOfResolvers is what the box asked any resolver of the lab: not what unbound and
// dnsmasq asked in their turn.
func (g *gate) askedOfResolvers(domain string) []netlab.Query {
	g.t.Helper()
	all := append(g.Unbound.Queries(domain), g.Dnsmasq.Queries(domain)...)
	for _, q := range g.World.Queries(domain) {
		if g.Plan.World.Has(q.Server) || g.Tunnel.Far.Has(q.Server) {
			all = append(all, q)
		}
	}
	return all
}

// wantOnlyTo wants no packet at all to the resolver of one block on the other's side,
// encrypted ones included, which no name can be read from.
func (g *gate) wantOnlyTo(vpn, wan string) {
	g.t.Helper()
	at := func(what string) []netip.Addr {
		for prefix, p := range map[string]netlab.Pair{"world": g.Plan.World, "unbound": g.Plan.Unbound, "dnsmasq": g.Plan.ISP} {
			if len(what) >= len(prefix) && what[:len(prefix)] == prefix {
				return p.All()
			}
		}
		return nil
	}
	if len(at(vpn)) > 0 && len(at(wan)) > 0 && at(vpn)[0] == at(wan)[0] {
		return // the same resolver is asked on both sides
	}
	if out := g.ISP.Tap.Packets(wire.Went(wire.In), wire.To(at(vpn)...)); len(out) > 0 {
		g.t.Errorf("%d packets to %s left via the WAN, the first: %s", len(out), vpn, out[0])
	}
	if in := g.Tunnel.Inside(wire.To(at(wan)...)); len(in) > 0 {
		g.t.Errorf("%d packets to %s went into the tunnel, the first: %s", len(in), wan, in[0])
	}
}

// An authoritative server as the upstream of a company's own names.
func TestKnotBehindTheTunnel(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	host := g.World.Addresses("host.corp.example")
	g.StartKnot("corp.example", fmt.Sprintf(`$ORIGIN corp.example.
$TTL 300
@    SOA ns hostmaster 1 3600 600 86400 60
@    NS  ns
ns   A   %[1]s
host A   %[2]s
host AAAA %[3]s
www  CNAME host
`, g.Plan.Knot.V4, host.V4, host.V6))
	g.Box.WriteFiles(netlab.Setup{Listed: []string{"corp.example"}, VPN: g.Plan.Knot.V4.String() + " " + g.Plan.Knot.V6.String()})
	g.p = g.Box.StartProduct(binary, "run")
	g.logs(g.p)
	g.Box.AwaitEgress("wg0", 10*time.Second)
	for _, proto := range protos {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			got := addressesIn(g.query("www.corp.example", qtype, proto))
			if len(got) != 1 || !host.Has(got[0]) {
				t.Fatalf("www.corp.example over %s: %v, want one of %v", proto, got, host.All())
			}
		}
	}
	g.wantVia(g.Client, netlab.ViaVPN, host.All()...)
	g.wantNoneClear(append(host.All(), g.Plan.Knot.All()...)...)
	if asked := g.Tunnel.Inside(wire.To(g.Plan.Knot.All()...)); len(asked) == 0 {
		t.Error("knot was not asked through the tunnel")
	}
	g.wantNoQueryByWAN("corp.example")
	if rest := g.World.Queries("corp.example"); len(rest) > 0 {
		t.Errorf("others were asked about corp.example: %v", rest)
	}
}

// The reply to a query that was given up comes to a closed socket. What the box
// tells the resolver then quotes it, and must not leave via the WAN.
func TestLateRepliesAreNotToldByTheWAN(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{VPN: g.Plan.World.V4.String() + " " + g.Plan.World.V6.String() +
		" {\n        timeout 100ms\n        budget 250ms\n        expire 50ms\n    }"})
	g.start()
	g.World.Behave("late.listed.example", netlab.Behavior{Delay: time.Second})
	g.Reset()
	for i := range 4 {
		// It fails: that is what makes the reply late.
		if _, err := g.lookup(g.Client, fmt.Sprintf("n%d.late.listed.example", i), dns.TypeA, "udp"); err == nil {
			t.Error("answered in time; want the query to be given up")
		}
	}
	// Every datagram has its reply in the tunnel, and the box has complained about at least one.
	netlab.Eventually(t, 5*time.Second, func() error {
		asked := 0
		for _, q := range g.World.Queries("late.listed.example") {
			if q.Proto == "udp" { // a connection that was given up takes its reply with it
				asked++
			}
		}
		late := g.Tunnel.Tap.Count(wire.Went(wire.Out), wire.Asks("late.listed.example"))
		return netlab.Check(asked > 0 && late == asked, "%d queries, %d late replies", asked, late)
	})
	told := func(p wire.Packet) bool { return p.Proto == unix.IPPROTO_ICMP || p.Proto == unix.IPPROTO_ICMPV6 }
	netlab.Eventually(t, 2*time.Second, func() error {
		return netlab.Check(len(g.Tunnel.Inside(told)) > 0, "the box told the resolver nothing, so nothing is shown")
	})
	g.Settle()
	for _, p := range g.ISP.Tap.Packets(wire.Went(wire.In), wire.To(append(g.Plan.World.All(), g.Tunnel.Far.All()...)...)) {
		t.Errorf("left via the WAN: %s", p)
	}
	if foreign := g.ISP.Foreign(); len(foreign) > 0 {
		t.Errorf("%d packets with the tunnel's source left via the WAN, the first: %s", len(foreign), foreign[0])
	}
}
