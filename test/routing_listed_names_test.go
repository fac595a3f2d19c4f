package test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// The main job: a listed name goes via the tunnel and any other via the WAN, whichever
// way the client asks.
func TestListedViaTunnelOthersViaWAN(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{})
	g.Box.WriteFiles(netlab.Setup{Listed: []string{"listed.example"}})
	g.start()
	g.Reset()
	digs := map[string][]string{
		"udp4": {"@" + g.BoxLAN.V4.String(), "+notcp"},
		"tcp4": {"@" + g.BoxLAN.V4.String(), "+tcp"},
		"udp6": {"@" + g.BoxLAN.V6.String(), "+notcp"},
		"tcp6": {"@" + g.BoxLAN.V6.String(), "+tcp"},
	}
	var listed, others []netip.Addr
	for how, args := range digs {
		listed = append(listed, g.dig(how+".listed.example", args)...)
		others = append(others, g.dig(how+".other.example", args)...)
	}
	g.wantVia(g.Client, netlab.ViaVPN, listed...)
	g.wantVia(g.Client, netlab.ViaWAN, others...)
	g.wantLearned("vpn", listed...)
	g.wantNotLearned("vpn", others...)
	g.wantNoneClear(listed...)
	if inside := g.Tunnel.Inside(wire.To(others...)); len(inside) > 0 {
		t.Errorf("%d packets to other addresses went through the tunnel, first %v", len(inside), inside[0])
	}
	g.wantAsked(netlab.ViaVPN, g.World.Queries("listed.example"))
	g.wantAsked(netlab.ViaWAN, g.Dnsmasq.Queries("other.example"))
	if foreign := g.ISP.Foreign(); len(foreign) > 0 {
		t.Errorf("%d packets left via the WAN with a source that is not the WAN's, first %v", len(foreign), foreign[0])
	}
}

// dig queries both families with Debian's dig and returns what it printed.
func (g *gate) dig(name string, args []string) []netip.Addr {
	g.t.Helper()
	out, err := g.Client.Dig(append([]string{"+short", name, "A", name, "AAAA"}, args...)...)
	if err != nil {
		g.t.Fatal(err)
	}
	var addrs []netip.Addr
	for _, line := range strings.Fields(out) {
		a, err := netip.ParseAddr(line)
		if err != nil {
			g.t.Fatalf("dig %s printed %q", name, out)
		}
		addrs = append(addrs, a)
	}
	want := g.World.Addresses(name)
	if len(addrs) != 2 || addrs[0] != want.V4 || addrs[1] != want.V6 {
		g.t.Fatalf("dig %s: %v, want %v", name, addrs, want.All())
	}
	return addrs
}

// A browser's way: the client's own resolver looks the name up, then HTTP and HTTPS.
func TestCurlTakesTheListedRoute(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Listed: []string{"listed.example", "full:exact.example", "*.below.example"}})
	for name, want := range map[string]netlab.Egress{
		"listed.example": netlab.ViaVPN, "a.b.listed.example": netlab.ViaVPN, "LISTED.Example": netlab.ViaVPN,
		"exact.example": netlab.ViaVPN, "www.exact.example": netlab.ViaWAN,
		"www.below.example": netlab.ViaVPN, "below.example": netlab.ViaWAN,
		"notlisted.example": netlab.ViaWAN, "listed.example.org": netlab.ViaWAN,
	} {
		for _, family := range []string{"-4", "-6"} {
			for _, scheme := range []string{"http://", "https://"} {
				egress, err := g.Client.Curl(scheme+name+"/", family)
				if err != nil || egress != want {
					t.Errorf("curl %s %s%s/: went %q, %v; want %s", family, scheme, name, egress, err, want)
				}
			}
		}
		if want == netlab.ViaVPN {
			g.wantNoneClear(g.addresses(strings.ToLower(name))...)
		}
	}
}

// The provider is reached by its IPv6 endpoint, or by a name that is looked up via the WAN.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"IPv6", "name"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			endpoint := g.Tunnel.Endpoint.V6.String()
			if by == "name" {
				endpoint = g.Tunnel.Domain
			}
			// The endpoint's own name on the list must not send its lookup into the tunnel.
			g.Box.WriteFiles(netlab.Setup{
				Listed: []string{"listed.example", "provider.example"},
				Conf:   g.Tunnel.Conf(netlab.ConfOptions{Endpoint: endpoint}),
			})
			g.start()
			addrs := g.resolve("www.listed.example")
			g.wantVia(g.Client, netlab.ViaVPN, addrs...)
			g.wantNoneClear(addrs...)
			encrypted := g.ISP.Encrypted()
			if len(encrypted) == 0 {
				t.Fatal("no packet went to the endpoint")
			}
			if lookups := g.World.Queries(g.Tunnel.Domain); by == "name" {
				g.wantAsked(netlab.ViaWAN, lookups)
				asked := lookups[0].When
				for _, q := range lookups { // the last one before it: the first may have been lost
					if q.When.Before(encrypted[0].When) {
						asked = q.When
					}
				}
				took := encrypted[0].When.Sub(asked)
				t.Logf("the first packet of the tunnel left %v after the name of its endpoint was asked for", took.Round(time.Millisecond))
				if took > 4*time.Second { // it tries again after 5 s
					t.Error("WireGuard waited before it tried")
				}
			}
		})
	}
}
