package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantees 4 and 5, for docs/scenarios/wglan.md.
// Three nodes encrypt all that is between them, though the endpoints are among what takes the
// tunnel: from the node and from its pod, in both directions, by both families, at their own
// addresses. The uplink sees WireGuard packets to the endpoints, and none else to any of them,
// also while one node is silent, whose addresses are closed then.
func TestScenarioWgLAN(t *testing.T) {
	t.Parallel()
	g := scenario(t, netlab.Options{GoResolvers: true, Tunnels: 2}, "wglan.md", 0)
	pod := g.Client
	g.Box.IP("link set br-lan down", "link set br-lan name cni0", "link set cni0 up", "addr add "+g.BoxLAN.V6.String()+"/64 dev cni0 nodad")
	nodes := g.Tunnels
	allowed := func(v *netlab.Tunnel) string {
		return fmt.Sprintf("%s/32, %s/128, 10.244.%d.0/24, fd44:%d::/64", v.Endpoint.V4, v.Endpoint.V6, v.Number+1, v.Number+1)
	}
	conf := g.mesh(allowed(nodes[0]), allowed(nodes[1]))
	conf = withoutLines(conf, "DNS")
	g.Box.Write("kubespan.conf", conf)
	key := nodes[0].BoxKey() // mesh has given it to the second
	own := append(g.BoxWAN.All(), g.Plan.Client.All()...)
	for _, v := range nodes {
		g.becomeNode(v, key, own...)
	}
	g.startAnswering()

	theirs := map[*netlab.Tunnel][]netip.Addr{}
	var all []netip.Addr
	for _, v := range nodes {
		theirs[v] = append(v.Endpoint.All(), parse(fmt.Sprintf("10.244.%d.2", v.Number+1), fmt.Sprintf("fd44:%d::2", v.Number+1))...)
		all = append(all, theirs[v]...)
	}
	reached := func(v *netlab.Tunnel) {
		t.Helper()
		// By the source that the other node sees, which is the node's own address, and the pod's.
		g.awaitVia(g.Box.Host, netlab.ViaWAN, 30*time.Second, theirs[v]...)
		g.awaitVia(pod, netlab.ViaLAN, 30*time.Second, theirs[v]...)
		for _, a := range theirs[v] {
			if len(v.Inside(wire.To(a), wire.From(own...))) == 0 {
				t.Errorf("no packet to %s came out of the tunnel", a)
			}
		}
	}
	for _, v := range nodes {
		reached(v)
	}
	g.wantWarnings("route kubespan: inbound: accept: ")
	const port = 7007
	for i, a := range own {
		on := []*netlab.Host{g.Box.Host, g.Box.Host, pod, pod}[i]
		to := netip.AddrPortFrom(a, port)
		g.serveEcho(on, to)
		for _, v := range nodes {
			for _, proto := range []string{"tcp", "udp"} {
				conn, err := v.Dial(proto, to.String())
				if err == nil {
					err = echoOnce(conn)
					conn.Close()
				}
				if err != nil {
					t.Errorf("%s to %s over %s: %v", v.Name, to, proto, err)
				}
			}
		}
	}
	nodes[1].Silence(true)
	for _, from := range []*netlab.Host{g.Box.Host, pod} {
		g.wantClosed(from, theirs[nodes[1]]...)
	}
	reached(nodes[0])
	g.Settle()
	tunnels := wire.ToPort(nodes[0].Port)
	for _, p := range append(g.ISP.FromBox(wire.To(all...), wire.Not(tunnels)), g.ISP.Tap.Packets(wire.From(own[2:]...))...) {
		t.Errorf("seen between the nodes: %s", p)
	}
	if len(g.ISP.FromBox(wire.To(nodes[1].Endpoint.V4), tunnels)) == 0 {
		t.Error("no packet of the tunnel was seen: the capture proves nothing")
	}
}

// becomeNode has a far end send to the box's addresses through the tunnel, but for the tunnel's own
// packets, from its own address, and gives it an address of a pod.
func (g *gate) becomeNode(v *netlab.Tunnel, key string, box ...netip.Addr) {
	g.t.Helper()
	var allowed []string
	for _, a := range box {
		allowed = append(allowed, netip.PrefixFrom(a, a.BitLen()).String())
		src := v.Endpoint.V4
		if a.Is6() {
			src = v.Endpoint.V6
		}
		v.IP(fmt.Sprintf("route add %s dev wg0 src %s table 100", a, src))
	}
	v.Run("wg", "set", "wg0", "fwmark", "1", "peer", key, "allowed-ips", strings.Join(allowed, ","))
	v.IP("rule add not fwmark 1 lookup 100")
	v.Run("ip", "-6", "rule", "add", "not", "fwmark", "1", "lookup", "100")
	v.IP(fmt.Sprintf("addr add 10.244.%d.2/32 dev lo", v.Number+1), fmt.Sprintf("addr add fd44:%d::2/128 dev lo nodad", v.Number+1))
}
