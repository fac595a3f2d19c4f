package test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 6: no bypass.
// Where the route has no IPv6, no answer gives a client an address that bypasses it.
func TestTunnelWithoutIPv6(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Conf: g.Tunnel.Conf(netlab.ConfOptions{IPv4Only: true})})
	g.start()
	g.World.Add(
		"www.listed.example. 60 IN CNAME edge.cdn.example.",
		"edge.cdn.example. 60 IN CNAME host.pop.example.",
	)
	hinted := g.World.Addresses("hinted.listed.example")
	g.World.Add(fmt.Sprintf("svc.listed.example. 60 IN HTTPS 1 . mandatory=ipv4hint,ipv6hint alpn=h2 ipv4hint=%s ipv6hint=%s", hinted.V4, hinted.V6))
	g.Reset()
	var v6 []netip.Addr
	for i, proto := range protos {
		for _, name := range []string{fmt.Sprintf("plain%d.listed.example", i), "www.listed.example", "host.pop.example"} {
			a := g.query(name, dns.TypeA, proto)
			g.wantVia(g.Client, netlab.ViaVPN, addressesIn(a)...)
			wantNoData(t, g.query(name, dns.TypeAAAA, proto))
			v6 = append(v6, g.World.Addresses(name).V6)
		}
		reply := g.query("svc.listed.example", dns.TypeHTTPS, proto)
		if got := hints(reply); len(got) != 1 || got[0] != hinted.V4 {
			t.Errorf("hints over %s: %v, want %s alone", proto, got, hinted.V4)
		}
		for _, v := range reply.Answer[0].(*dns.HTTPS).Value {
			if m, ok := v.(*dns.SVCBMandatory); ok && len(m.Code) != 1 {
				t.Errorf("mandatory names what was removed: %v", m)
			}
		}
	}
	g.wantVia(g.Client, netlab.ViaVPN, hinted.V4)
	// A browser that knows both families by name.
	for _, scheme := range []string{"http://", "https://"} {
		if egress, err := g.Client.Curl(scheme + "www.listed.example/"); err != nil || egress != netlab.ViaVPN {
			t.Errorf("curl %swww.listed.example/: went %q, %v; want %s", scheme, egress, err, netlab.ViaVPN)
		}
	}
	v6 = append(v6, hinted.V6)
	g.wantNoneClear(append(v6, g.addresses("www.listed.example", "host.pop.example")...)...)
	for _, q := range g.World.Queries("listed.example") {
		if q.Type == dns.TypeAAAA {
			t.Errorf("asked for what cannot be used: %s", q)
		}
	}
	// Other names have IPv6 as before.
	other := g.resolve("www.other.example")
	g.wantVia(g.Client, netlab.ViaWAN, other...)
}

// wantNoData wants an answer that a resolver may keep: NOERROR, nothing in it, no
// CNAME to follow elsewhere, and an SOA that says for how long (RFC 2308).
func wantNoData(t *testing.T, m *dns.Msg) {
	t.Helper()
	name := m.Question[0].Name
	if len(m.Answer) != 0 {
		t.Errorf("AAAA of %s: %v, want no data", name, m.Answer)
	}
	if len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != dns.TypeSOA {
		t.Errorf("AAAA of %s: authority %v, want an SOA", name, m.Ns)
	}
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			t.Errorf("AAAA of %s: additional %v, want nothing", name, rr)
		}
	}
}

// A LAN with IPv6 only: dns64 makes addresses of a tunnel's IPv4, and those are
// routed by the address within.
func TestDNS64BehindATunnelWithoutIPv6(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Conf: g.Tunnel.Conf(netlab.ConfOptions{IPv4Only: true})})
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    listed mine
    route vpn
    dns64 {
        allow_ipv4
    }
    cache
    upstream vpn %s
}
. {
    upstream wan %s
}
`, g.Plan.World.V4, g.Plan.ISP.V4))
	g.start()
	g.Reset()
	for i, proto := range protos {
		name := fmt.Sprintf("n%d.listed.example", i)
		want := g.World.Addresses(name).V4
		b := netip.MustParsePrefix("64:ff9b::/96").Addr().As16()
		four := want.As4()
		copy(b[12:], four[:])
		got := addressesIn(g.query(name, dns.TypeAAAA, proto))
		if len(got) != 1 || got[0] != netip.AddrFrom16(b) {
			t.Errorf("AAAA of %s: %v, want %s", name, got, netip.AddrFrom16(b))
		}
		g.wantLearned("vpn", want)
		g.wantVia(g.Client, netlab.ViaVPN, want)
		g.wantNoneClear(g.World.Addresses(name).All()...)
	}
}
