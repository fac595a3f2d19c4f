package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 4: kill switch.
// A tunnel that another program makes is a route by its interface and its probes, as
// docs/tunnels.md has it: closed while its far end is silent and while the program is gone,
// and back by itself. Nothing of it leaves by the WAN.
func TestTunnelOfAnotherProgram(t *testing.T) {
	t.Parallel()
	netlab.Need(t, "wireguard-go")
	g := bareGate(t, netlab.Options{GoResolvers: true})
	far := g.Tunnel.Far
	text, err := os.ReadFile("../docs/tunnels.md")
	if err != nil {
		t.Fatal(err)
	}
	g.Box.WriteFiles(netlab.Setup{NoTunnel: true})
	g.Box.Write("gateway.yaml", "lan: [br-lan]\nwan: auto\n"+strings.NewReplacer(
		"192.0.2.9", g.Tunnel.Endpoint.V4.String(), "10.8.0.1", far.V4.String(), "10.8.0.53", far.V4.String(),
		"www.example.org", "www.listed.example", "mine.txt", filepath.Join(g.Box.Dir, "mine.txt"),
		"every: 2s", "every: 2s\n    good: 1",
	).Replace(fences("docs/tunnels.md", string(text))[0].text))
	conf := g.Box.Write("other.conf", withoutLines(g.WireGuardConf(), "Address", "DNS"))
	program := g.runTunnel(conf)
	g.start()
	addrs := g.resolve("www.listed.example")
	both := []*netlab.Host{g.Client, g.Box.Host}
	for _, from := range both {
		g.awaitVia(from, netlab.ViaVPN, 30*time.Second, addrs...)
	}
	g.p.WaitOutput("route is up", 30*time.Second)
	g.Reset()

	g.Tunnel.Silence(true)
	g.p.WaitOutput("probe failed: ", 30*time.Second)
	for _, from := range both {
		g.wantClosed(from, addrs...)
	}
	g.Tunnel.Silence(false)
	g.awaitVia(g.Client, netlab.ViaVPN, 30*time.Second, addrs...)

	program.Kill()
	g.p.WaitOutput("interface tun0: does not exist", 30*time.Second)
	for _, from := range both {
		g.wantClosed(from, addrs...)
	}
	g.runTunnel(conf)
	g.awaitVia(g.Client, netlab.ViaVPN, 30*time.Second, addrs...)
	g.awaitVia(g.Box.Host, netlab.ViaVPN, 30*time.Second, addrs...)
	g.wantNoneClear(append(addrs, far.V4)...)
	g.wantNoQueryByWAN("listed.example")
}

// runTunnel makes tun0 as another program would: no kernel routes, no DNS.
func (g *gate) runTunnel(conf string) *netlab.Process {
	g.t.Helper()
	return g.runTunnelAs("tun0", conf, g.Tunnel.Near, 32, 128)
}

// runTunnelAs gives the interface an address of each family, with these lengths of a network.
func (g *gate) runTunnelAs(link, conf string, near netlab.Pair, bits4, bits6 int) *netlab.Process {
	g.t.Helper()
	p := g.Box.Start("wireguard-go", "--foreground", link)
	p.AwaitWireGuard(link)
	g.Box.Run("wg", "setconf", link, conf)
	g.Box.IP(fmt.Sprintf("addr add %s/%d dev %s", near.V4, bits4, link), fmt.Sprintf("addr add %s/%d dev %s nodad", near.V6, bits6, link),
		"link set "+link+" mtu 1420 up")
	return p
}

func withoutLines(text string, keys ...string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if key, _, _ := strings.Cut(line, " "); !strings.Contains(strings.Join(keys, " "), key) || strings.TrimSpace(key) == "" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
