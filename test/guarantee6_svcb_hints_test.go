package test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// hints are the addresses in an answer's HTTPS and SVCB records.
func hints(m *dns.Msg) []netip.Addr {
	var addrs []netip.Addr
	add := func(values []dns.SVCBKeyValue) {
		for _, v := range values {
			switch v := v.(type) {
			case *dns.SVCBIPv4Hint:
				for _, ip := range v.Hint {
					a, _ := netip.AddrFromSlice(ip.To4())
					addrs = append(addrs, a)
				}
			case *dns.SVCBIPv6Hint:
				for _, ip := range v.Hint {
					a, _ := netip.AddrFromSlice(ip.To16())
					addrs = append(addrs, a)
				}
			}
		}
	}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.HTTPS:
			add(rr.Value)
		case *dns.SVCB:
			add(rr.Value)
		}
	}
	return addrs
}

// Guarantee 6: no bypass.
// A browser connects to the hints of an HTTPS record before it has any A record.
func TestHintsAreLearned(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	g.Reset()
	for _, kind := range []uint16{dns.TypeHTTPS, dns.TypeSVCB} {
		for _, proto := range protos {
			name := fmt.Sprintf("%s-%d.listed.example", proto, kind)
			first, second := g.World.Addresses("first."+name), g.World.Addresses("second."+name)
			g.World.Add(fmt.Sprintf("%s. 60 IN %s 1 . alpn=h2,h3 ipv4hint=%s,%s ipv6hint=%s,%s",
				name, dns.TypeToString[kind], first.V4, second.V4, first.V6, second.V6))
			got := hints(g.query(name, kind, proto))
			if want := 4; len(got) != want {
				t.Fatalf("%s: hints %v, want %d", name, got, want)
			}
			g.wantVia(g.Client, netlab.ViaVPN, got...)
			g.wantLearned("vpn", got...)
			g.wantNoneClear(got...)
			g.wantAsked(netlab.ViaVPN, g.World.Queries(name))
		}
	}
}
