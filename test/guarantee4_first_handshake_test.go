package test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 4: kill switch.
// A tunnel that has never shaken hands is neither up nor down: its packets wait, and none
// leaves by the WAN. After its time for the first handshake it is down: with `on_down: wan`
// new flows take the WAN, with `block` they stay closed; the first handshake takes it up.
func TestFirstHandshake(t *testing.T) {
	t.Parallel()
	for _, onDown := range []string{"wan", "block"} {
		t.Run(onDown, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			g.Box.WriteFiles(netlab.Setup{OnDown: onDown})
			g.Tunnel.Silence(true)
			g.p = g.Box.StartProduct(binary, append(quickDown, "--handshake-timeout", "12s")...)
			g.logs(g.p)
			g.awaitControl("run")
			waiting, code := g.status()
			if vpn := waiting.Routes[0]; code != 11 || waiting.State != "unknown" || vpn.State != "waiting" || vpn.Up || !strings.HasPrefix(vpn.Reason, "no handshake yet: ") {
				t.Errorf("at the start: exit code %d, %s, %+v", code, waiting.State, vpn)
			}
			if text := g.Box.Sh("ip route show table all proto 110 | grep -c 'default dev wg0'"); text != "2\n" {
				t.Errorf("packets do not wait in the tunnel: %q default by it", text)
			}
			s := g.awaitStatus(func(s page, code int) error {
				return netlab.Check(code == 10 && s.Routes[0].State == "down", "exit code %d, %+v", code, s.Routes[0])
			})
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
			g.awaitGood()
		})
	}
}

// Guarantee 4: kill switch.
// A wrong key, a server without WireGuard and a name that does not exist all leave a tunnel
// without a handshake: it is closed after its time, and the reason says what is known.
func TestReasonOfNoHandshake(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	good := g.WireGuardConf()
	g.World.Behave("nx.example", netlab.Behavior{Rcode: dns.RcodeNameError})
	g.Box.WriteFiles(netlab.Setup{Gateway: "check_interval: off"})
	g.start(append(quickDown, "--handshake-timeout", "2s")...)
	endpoint := regexp.MustCompile(`Endpoint = \S+`)
	key := regexp.MustCompile(`PublicKey = \S+`)
	for _, c := range []struct{ name, conf, reason string }{
		{"wrong key", key.ReplaceAllString(good, "PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="), "nothing came back: not known is whether it is off, UDP to it is blocked, or a key is wrong"},
		{"no WireGuard there", strings.Replace(good, ":51820", ":51999", 1), ":51999: connection refused: no WireGuard runs there"},
		{"no such name", endpoint.ReplaceAllString(good, "Endpoint = nx.example:51820"), "the endpoint is not resolved: "},
	} {
		g.Box.Write("wg0.conf", c.conf)
		g.awaitStatus(func(s page, code int) error {
			vpn := s.Routes[0]
			return netlab.Check(code == 10 && vpn.State == "down" && strings.Contains(vpn.Reason, c.reason), "%s: exit code %d, %+v", c.name, code, vpn)
		})
	}
	g.Box.Write("wg0.conf", good)
	g.awaitGood()
}
