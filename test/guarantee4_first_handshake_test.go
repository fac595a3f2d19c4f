package test

import (
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 4: kill switch.
// A tunnel that has never shaken hands is neither up nor down: its packets wait, and none
// leaves by the WAN. After its time for the first handshake it is down: with `on_down: wan`
// new flows take the WAN, with `block` they stay closed; the first handshake takes it up.
func TestFirstHandshake(t *testing.T) {
	for _, onDown := range []string{"wan", "block"} {
		t.Run(onDown, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			g.Box.WriteFiles(netlab.Setup{OnDown: onDown})
			g.Tunnel.Silence(true)
			g.p = g.Box.StartProduct(binary, append(quickDown, "--handshake-timeout", "4s")...)
			g.logs(g.p)
			g.awaitControl("run")
			waiting, code := g.status()
			if vpn := waiting.Routes[0]; code != 11 || waiting.State != "unknown" || vpn.State != "waiting" || vpn.Up || !strings.HasPrefix(vpn.Reason, "no handshake yet: ") {
				t.Errorf("at the start: exit code %d, %s, %+v", code, waiting.State, vpn)
			}
			if text := g.Box.Sh("ip route show table all proto 110 | grep -c 'default dev wg0'"); text != "2\n" {
				t.Errorf("packets do not wait in the tunnel: %q default by it", text)
			}
			netlab.Eventually(t, 30*time.Second, func() error {
				s, code := g.status()
				return netlab.Check(code == 10 && s.Routes[0].State == "down", "exit code %d, %+v", code, s.Routes[0])
			})
			s, _ := g.status()
			if vpn := s.Routes[0]; !strings.Contains(vpn.Reason, "nothing came back: not known is whether it is off") || !vpn.Since.After(waiting.Routes[0].Since) {
				t.Errorf("down: %+v", vpn)
			}
			if onDown == "wan" {
				g.Box.AwaitNames("ready.listed.example", 10*time.Second)
				g.awaitVia(g.Client, netlab.ViaWAN, 5*time.Second, g.resolve("www.listed.example")...)
			} else {
				if addrs, err := g.Client.Resolve("www.listed.example"); err == nil {
					t.Errorf("answered: %v", addrs)
				}
				g.wantNoQueryByWAN("www.listed.example")
			}
			g.Tunnel.Silence(false)
			g.p.WaitOutput("route is up route=vpn", 15*time.Second)
			g.Box.AwaitNames("back.listed.example", 10*time.Second)
			g.awaitVia(g.Client, netlab.ViaVPN, 5*time.Second, g.resolve("back.listed.example")...)
			if _, code := g.status(); code != 0 {
				t.Errorf("up: exit code %d", code)
			}
		})
	}
}
