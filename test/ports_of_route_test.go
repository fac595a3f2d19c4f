package test

import (
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantee 4: kill switch.
// Of a route with `match:` only packets of these protocols and ports take it; others to the same
// addresses leave by the WAN, from clients and from the box, whether the route is up or not.
func TestPortsOfRoute(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Route: "match: {proto: tcp, ports: [80, 400-443]}"}, quickDown...)
	addrs := g.resolve("www.listed.example")
	hosts := []*netlab.Host{g.Client, g.Box.Host}
	urls := []string{"http://www.listed.example/", "https://www.listed.example/"}
	g.Reset()
	for _, from := range hosts {
		for _, url := range urls {
			for family, a := range addrs {
				flags := []string{"-4", "-6"}[family]
				at := "www.listed.example:443:" + a.String()
				if url[:5] == "http:" {
					at = "www.listed.example:80:" + a.String()
				}
				if egress, err := from.Curl(url, flags, "--resolve", at); err != nil || egress != netlab.ViaVPN {
					t.Errorf("%s to %s of %s: by %q, %v; want %s", from.Name, url, a, egress, err, netlab.ViaVPN)
				}
			}
		}
		g.wantVia(from, netlab.ViaWAN, addrs...) // the ports of echo
	}
	g.Settle()
	matching := wire.ToPort(80, 443)
	if n := len(g.ISP.Clear(wire.To(addrs...), matching)); n > 0 {
		t.Errorf("%d packets to the route's ports left by the WAN", n)
	}
	if n := len(g.Tunnel.Inside(wire.To(addrs...), wire.Not(matching))); n > 0 {
		t.Errorf("%d packets to other ports left by the route", n)
	}

	g.Tunnel.Silence(true)
	netlab.Eventually(t, 2*backWithin, func() error {
		_, err := g.Box.Curl(urls[0], "--resolve", "www.listed.example:80:"+addrs[0].String(), "--max-time", "1")
		return netlab.Check(err != nil && strings.Contains(g.p.Output(), "packets and queries of the route are blocked"), "the route is up")
	})
	for _, from := range hosts {
		if egress, err := from.Curl(urls[0], "-4", "--resolve", "www.listed.example:80:"+addrs[0].String(), "--max-time", "1"); err == nil {
			t.Errorf("%s went by %s while the route was down", from.Name, egress)
		}
		g.wantVia(from, netlab.ViaWAN, addrs...)
	}
	g.Settle()
	if n := len(g.ISP.Clear(wire.To(addrs...), matching)); n > 0 {
		t.Errorf("%d packets to the route's ports left by the WAN while it was down", n)
	}
}
