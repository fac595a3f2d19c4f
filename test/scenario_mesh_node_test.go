package test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantees 4 and 6, for docs/scenarios/mesh-node.md.
// The program of the VPN, known by its group, sends everything by the home network, and its names are asked there;
// the node's other programs and the clients, whose addresses stay their own, go by the mesh with everything,
// although main prefers the home network. While the mesh is silent they have nothing, and the
// VPN goes on.
func TestScenarioMeshNode(t *testing.T) {
	t.Parallel()
	plan := netlab.NewPlan()
	g := scenario(t, netlab.Options{GoResolvers: true, NoWANNAT: true, TellUplinks: true}, "mesh-node.md", 0,
		"192.0.2.53", plan.World2.V4.String(), "2001:db8::53", plan.World2.V6.String())
	u := g.AddWAN()
	g.Box.IP("link set wan1 down", "link set wan1 name bat0", "link set bat0 up", fmt.Sprintf("addr add %s/64 dev bat0 nodad", u.Box.V6),
		fmt.Sprintf("route add default via %s dev bat0 metric 5000", u.Gate.V4), fmt.Sprintf("route add ::/0 via %s dev bat0 metric 5000", u.Gate.V6))
	g.ISP.IP(fmt.Sprintf("route add 192.168.77.0/24 via %s", u.Box.V4), fmt.Sprintf("route add fd77::/64 via %s", u.Box.V6))
	g.Internet.IP("route add 192.168.77.0/24 via 31.0.2.1", "route add fd77::/64 via 2a0e:2::1")
	const gid = 54247
	groups, err := os.ReadFile("/etc/group")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(g.Dir, "group")
	if err := os.WriteFile(file, append(groups, fmt.Sprintf("mesh-vpn:x:%d:\n", gid)...), 0o644); err != nil {
		t.Fatal(err)
	}
	g.Box.Run("mount", "--bind", file, "/etc/group")
	g.startAnswering()

	vpn, hosts := g.programOf(54246, gid), g.addresses("www.one.example", "www.two.example")
	g.awaitVia(g.Client, netlab.ViaLAN, 0, hosts...)
	g.awaitVia(g.Box.Host, netlab.ViaWAN2, 0, hosts...)
	g.Box.AwaitNames("clients.example", 0)
	for _, q := range g.World.Queries("clients.example") {
		if q.Egress != netlab.ViaWAN2 || !plan.World2.Has(q.Server) {
			t.Errorf("want it asked at the mesh's resolver by the mesh: %s", q)
		}
	}
	g.Settle()
	if seen := g.ISP.Tap.Packets(wire.Went(wire.In), wire.ToPrefix(g.Plan.Internet...)); len(seen) > 0 {
		t.Errorf("%d packets left by the home network before the VPN began, the first: %s", len(seen), seen[0])
	}
	vpn.awaitVia(netlab.ViaWAN, hosts[0])
	vpn.wantVia(netlab.ViaWAN, hosts...)
	vpn.wantAsked(netlab.ViaWAN, "servers.example")

	g.wantWarnings()
	g.Reset()
	g.silence("wan1", true)
	alone := g.addresses("www.three.example")
	g.wantClosed(g.Client, alone...)
	g.wantClosed(g.Box.Host, alone...)
	g.Settle()
	if seen := g.ISP.Tap.Packets(wire.To(alone...)); len(seen) > 0 {
		t.Errorf("%d packets left by the home network, the first: %s", len(seen), seen[0])
	}
	vpn.wantVia(netlab.ViaWAN, hosts...)
}
