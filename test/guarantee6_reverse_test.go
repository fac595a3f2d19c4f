package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 6: no bypass.
// Who has connected to an address asks for its name (logs, mail, traceroute): of an address
// that takes a route the query takes it, too, and of all others it does not.
func TestReverseNames(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Route: "prefixes: nets\n"})
	g.Box.Write("nets.txt", "30.200.0.0/16\n2a0f:200::/32\n")
	g.Box.Write("gateway.yaml", g.read("gateway.yaml")+"  nets:\n    file: nets.txt\nexclude: [30.200.9.9, \"2a0f:200::9\"]\n")
	g.start()
	reverse := func(a string) string {
		name, err := dns.ReverseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	ask := func(want netlab.Egress, addrs ...netip.Addr) {
		t.Helper()
		for _, a := range addrs {
			name := reverse(a.String())
			g.World.Remove(name)
			host := strings.NewReplacer(".", "-", ":", "-").Replace(a.String()) + ".rev.example"
			g.World.Add(fmt.Sprintf("%s 0 IN PTR %s.", name, host))
			g.World.Reset()
			for _, proto := range []string{"udp", "tcp6"} {
				if m := g.query(strings.ToUpper(name), dns.TypePTR, proto); len(m.Answer) != 1 {
					t.Errorf("%s over %s: %v", name, proto, m.Answer)
				}
			}
			g.wantAsked(want, g.World.Queries(name))
			g.resolve(host) // forward-confirmed, as mail servers do
			g.wantAsked(want, g.World.Queries(host))
		}
	}
	listed, other := g.World.Addresses("www.listed.example").All(), g.World.Addresses("www.other.example").All()
	ask(netlab.ViaWAN, listed...) // not learned yet
	g.resolve("www.listed.example")
	g.resolve("www.other.example")
	g.Reset()
	ask(netlab.ViaVPN, listed...)
	ask(netlab.ViaVPN, netip.MustParseAddr("30.200.1.1"), netip.MustParseAddr("2a0f:200::1"))
	for _, a := range listed {
		g.wantNoQueryByWAN(strings.TrimSuffix(reverse(a.String()), "."))
	}
	ask(netlab.ViaWAN, other...)
	ask(netlab.ViaWAN, netip.MustParseAddr("30.200.9.9"), netip.MustParseAddr("2a0f:200::9")) // excluded
}
