package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 4: kill switch.
// With `prefixes: allowed_ips` what the peers of a tunnel are allowed takes the route. One that
// is silent loses what it alone takes, according to on_down, and the others lose nothing.
func TestMesh(t *testing.T) {
	t.Parallel()
	for _, onDown := range []string{"block", "wan"} {
		t.Run(onDown, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
			g.Box.WriteFiles(netlab.Setup{
				OnDown: onDown, Route: "prefixes: [allowed_ips]",
				Conf: g.mesh(fmt.Sprintf("%s/32, 30.200.0.0/14, 2a0f:aa:7::/48", g.Plan.World.V4), "30.201.0.0/16, 2a0f:aa:8::/48"),
			})
			g.start("run", "--handshake-limit", "6s", "--probe-interval", "100ms")
			other := g.Tunnels[1]
			byOther := netlab.ViaTunnel(other.Number)
			first, second := parse("30.200.1.1", "30.202.1.1", "2a0f:aa:7::1"), parse("30.201.1.1", "2a0f:aa:8::1")
			for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
				g.awaitVia(from, netlab.ViaVPN, 30*time.Second, first...)
				g.awaitVia(from, byOther, 30*time.Second, second...)
			}
			g.wantVia(g.Client, netlab.ViaWAN, parse("30.210.1.1", "2a0f:aa:9::1")...)

			g.Reset()
			other.Silence(true)
			netlab.Eventually(t, 30*time.Second, func() error {
				_, err := g.Client.ConnectWithin(second[0], 100*time.Millisecond) // what is sent must need an answer
				return netlab.Check(strings.Contains(g.p.Output(), "peer of the tunnel is silent"), "the silent peer is not noticed: %v", err)
			})
			if onDown == "wan" {
				g.awaitVia(g.Client, netlab.ViaWAN, 30*time.Second, second...)
				g.wantVia(g.Box.Host, netlab.ViaWAN, second...)
			} else {
				g.wantClosed(g.Client, second...)
				g.wantClosed(g.Box.Host, second...)
				g.wantNoneClear(append(first, second...)...)
			}
			g.awaitVia(g.Client, netlab.ViaVPN, 30*time.Second, first...)
			g.awaitStatusSays("is silent: 30.201.0.0/16, 2a0f:aa:8::/48")

			other.Silence(false)
			g.awaitVia(g.Client, byOther, 30*time.Second, second...)
			g.awaitVia(g.Box.Host, byOther, 30*time.Second, second...)
			g.awaitVia(g.Client, netlab.ViaVPN, 30*time.Second, first...)
		})
	}
}

// mesh returns a provider's file with the far ends of both tunnels as peers, each with what it
// is allowed. The second knows the box by the key that the first one gave it.
func (g *gate) mesh(first, second string) string {
	g.t.Helper()
	conf, other := g.Tunnel.Conf(netlab.ConfOptions{}), g.Tunnels[1].Conf(netlab.ConfOptions{})
	private, err := wgtypes.ParseKey(setting(conf, "PrivateKey"))
	if err != nil {
		g.t.Fatal(err)
	}
	near := g.Tunnel.Near
	g.Tunnels[1].Run("wg", "set", "wg0", "peer", private.PublicKey().String(), "allowed-ips", fmt.Sprintf("%s/32,%s/128", near.V4, near.V6))
	g.Tunnels[1].IP(fmt.Sprintf("route add %s dev wg0", near.V4), fmt.Sprintf("route add %s dev wg0", near.V6))
	return strings.Replace(conf, "0.0.0.0/0, ::/0", first, 1) +
		fmt.Sprintf("\n[Peer]\nPublicKey = %s\nAllowedIPs = %s\nEndpoint = %s\n", setting(other, "PublicKey"), second, setting(other, "Endpoint"))
}

// setting returns the value of a line KEY = VALUE.
func setting(conf, key string) string {
	_, rest, _ := strings.Cut(conf, key+" = ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}
