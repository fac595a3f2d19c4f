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

// Resolvers that a link was given are queried via the route that leaves by it, and via no
// other (docs/gateway.yaml.md, wan_resolvers), whichever program recorded it, and a lease that
// changes is followed without a restart. /etc/resolv.conf, which names both, mixes nothing.
func TestResolversOfLinks(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	u := g.AddWAN()
	g.Box.IP(fmt.Sprintf("route add default via %s dev %s metric 5000", u.Gate.V4, u.Link), fmt.Sprintf("route add ::/0 via %s dev %s metric 5000", u.Gate.V6, u.Link))
	g.Box.WriteFiles(netlab.Setup{VPN: "dhcp", WAN: " ", NoTunnel: true})
	g.Box.Write("gateway.yaml", fmt.Sprintf("lan: [br-lan]\nroutes:\n  vpn: {interface: %s}\nlists:\n  mine: {file: mine.txt}\n", u.Link))
	g.ownEtc()
	first, second := g.Plan.World.V4, g.Plan.World2.V4
	inPlace(g, fmt.Sprintf("nameserver %s\nnameserver %s\n", second, first))
	index := strings.TrimSpace(g.Box.Run("cat", "/sys/class/net/"+u.Link+"/ifindex"))
	lease := func(at netip.Addr) {
		g.put("mkdir -p /run/systemd/netif/leases; cat > /run/systemd/netif/leases/"+index, fmt.Sprintf("ADDRESS=%s\nDNS=%s\n", u.Box.V4, at))
	}
	hook := func(at netip.Addr) {
		g.put("mkdir -p /run/dhcpcd/hook-state/resolv.conf; cat > /run/dhcpcd/hook-state/resolv.conf/wan0.dhcp", fmt.Sprintf("nameserver %s\n", at))
	}
	lease(second)
	hook(first)
	g.start()

	round := 0
	want := func(when string, listed, other netip.Addr) {
		t.Helper()
		for domain, at := range map[string]netip.Addr{"listed.example": listed, "other.example": other} {
			netlab.Eventually(t, 60*time.Second, func() error {
				round++
				name := fmt.Sprintf("n%d.%s", round, domain)
				reply, err := g.Client.Query(new(dns.Msg).SetQuestion(name+".", dns.TypeA), "udp")
				if err != nil || reply.Rcode != dns.RcodeSuccess {
					return fmt.Errorf("%s: %s: %v, %v", when, name, reply, err)
				}
				queries := g.World.Queries(name)
				for _, q := range queries {
					if q.Server != at {
						return fmt.Errorf("%s: want %s asked: %s", when, at, q)
					}
					if from := q.From.Addr(); (from == u.Box.V4) != (domain == "listed.example") {
						t.Errorf("%s: asked by the wrong link: %s", when, q)
					}
				}
				return netlab.Check(len(queries) > 0, "%s: nobody was asked for %s", when, name)
			})
		}
	}
	want("at the start", second, first)
	lease(first)
	hook(second)
	want("new leases", first, second)
	for _, text := range []string{"systemd-networkd on " + u.Link + ", /run/systemd/netif/leases/" + index, "dhcpcd on wan0, /run/dhcpcd/hook-state/resolv.conf/wan0.dhcp"} {
		g.awaitStatusSays(text)
	}
}
