package test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantees 4, 5 and 7, for docs/scenarios/gateway-and-client.md.
// A tunnel for everything starts before there is an uplink. The lease of a real DHCP client lets its endpoint's name be
// asked at the lease's resolver, and nothing else leaves in the clear, of the client's or of the
// box's, both families: not before it, not over a crash and a restart, not when the lease
// moves to another network with another resolver.
func TestScenarioGatewayAndClient(t *testing.T) {
	t.Parallel()
	netlab.Need(t, "dhcpcd", "dnsmasq")
	g := scenario(t, netlab.Options{GoResolvers: true}, "gateway-and-client.md", 0)
	g.Box.Write("exit.conf", g.Tunnel.Conf(netlab.ConfOptions{Endpoint: g.Tunnel.Domain}))
	g.endpointIs(g.Tunnel.Endpoint.V4)
	g.ownEtc()
	g.WANDown()
	g.Box.IP("addr flush dev wan0")
	g.p = g.Box.StartProduct(binary, "run")
	g.logs(g.p)
	both := []*netlab.Host{g.Client, g.Box.Host}
	hosts := parse("30.200.1.1", "2a0f:aa:7::1")
	for _, from := range both {
		g.wantClosed(from, hosts...)
	}

	g.Box.Up("wan0")
	server := g.serveLease("31.0.1.2", "31.0.1.1", g.Plan.ISP.V4)
	g.Box.Sh("mount -t tmpfs tmpfs /var/lib/dhcpcd")
	client := g.Box.Start("dhcpcd", "-B", "-f", g.Box.Write("dhcpcd.conf", "noarp\nnoipv6rs\nnodelay\noption domain_name_servers\n"), "wan0")
	g.logs(client)
	g.Box.IP("addr add 2a0e:1::2/64 dev wan0 nodad", "route add ::/0 via 2a0e:1::1 dev wan0")
	for _, from := range both {
		g.awaitVia(from, netlab.ViaVPN, 60*time.Second, hosts...)
	}
	names := func(name string) {
		t.Helper()
		g.Box.AwaitNames(name, 30*time.Second)
		for _, q := range g.World.Queries(name) {
			if !g.Tunnel.Far.Has(q.Server) {
				t.Errorf("want it asked at the exit: %s", q)
			}
		}
	}
	names("first.example")
	g.askedOnlyFor(g.Plan.ISP.V4, g.Tunnel.Domain)

	g.wantWarnings()
	streams := g.flows(g.Client, netlab.ViaVPN, hosts...)
	g.p.Kill()
	g.p = g.Box.StartProduct(binary, "run")
	g.logs(g.p)
	streams.wantProgress()

	// The uplink is another network now.
	server.Kill()
	g.ISP.Down("box0")
	client.WaitOutput("carrier lost", 60*time.Second)
	g.ISP.IP("addr flush dev box0 scope global", "addr add 31.0.6.1/24 dev box0", "addr add 2a0e:6::1/64 dev box0 nodad")
	g.World.Reset()
	g.serveLease("31.0.6.2", "31.0.6.1", g.Plan.World2.V4)
	g.ISP.Up("box0")
	g.Box.IP("addr flush dev wan0 scope global to 2a0e:1::/64", "addr add 2a0e:6::2/64 dev wan0 nodad", "route replace ::/0 via 2a0e:6::1 dev wan0")
	netlab.Eventually(t, 60*time.Second, func() error {
		out := g.Box.Run("ip", "-4", "route", "show", "table", "7327")
		return netlab.Check(strings.Contains(out, "31.0.6.1"), "the WAN's table has no default of the new lease:\n%s", out)
	})
	streams.wantProgress()
	names("second.example")
	g.endpointIs(g.Tunnel.Endpoint.V4) // as it was, and asked of whom the lease names
	g.p.Kill()
	g.p = g.Box.StartProduct(binary, "run")
	g.logs(g.p)
	streams.wantProgress()
	netlab.Eventually(t, 30*time.Second, func() error {
		return netlab.Check(len(g.World.Queries(g.Tunnel.Domain)) > 0, "the endpoint's name is not asked")
	})
	g.askedOnlyFor(g.Plan.World2.V4, g.Tunnel.Domain)

	g.Settle()
	endpoint := wire.To(g.Tunnel.Endpoint.All()...)
	for _, p := range g.ISP.FromBox(wire.ToPrefix(g.Plan.Internet...), wire.Not(endpoint)) {
		if p.Dst.Addr() != g.Plan.World2.V4 || wire.Canonical(p.Question()) != g.Tunnel.Domain {
			t.Errorf("left in the clear: %s", p)
		}
	}
}

// askedOnlyFor wants one resolver asked via the WAN, for one name and nothing else.
func (g *gate) askedOnlyFor(at netip.Addr, name string) {
	g.t.Helper()
	asked := false
	for _, q := range g.World.Queries() {
		if q.Egress != netlab.ViaWAN {
			continue
		}
		asked = true
		if q.Server != at || q.Name != name {
			g.t.Errorf("want only %s asked for %s via the WAN: %s", at, name, q)
		}
	}
	if !asked {
		g.t.Errorf("%s was not asked for %s", at, name)
	}
}

// serveLease has the ISP lease one address on the box's link, with a router and a resolver.
func (g *gate) serveLease(address, router string, resolver netip.Addr) *netlab.Process {
	g.t.Helper()
	p := g.ISP.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--log-facility=-", "--port=0",
		"--dhcp-authoritative", "--no-ping", "--dhcp-leasefile="+g.Dir+"/isp.leases", "--interface=box0", "--bind-interfaces",
		"--dhcp-range="+address+","+address+",255.255.255.0,120", "--dhcp-option=option:router,"+router, "--dhcp-option=option:dns-server,"+resolver.String())
	g.logs(p)
	return p
}
