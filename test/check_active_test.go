package test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// `check --active` says of everything what it looked at and what it found: unknown while
// nothing runs, good while all works, and bad with the place when the tunnel's peer, the
// resolver behind it, or another program's policy rule gets in the way.
func TestCheckActive(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Gateway: "check_interval: 10s"})
	g.wantProbes("nothing runs", 11,
		"unknown  route vpn: no policy rule leads to it, so which way its packets take is not known: nameroute run",
		"unknown  route vpn: whether its tunnel shakes hands: interface wg0 does not exist: nameroute run",
		"unknown  resolver "+g.Plan.World.V4.String()+" via route vpn: nothing was sent: no policy rule leads to the route: nameroute run",
		"ok       resolver "+g.Plan.ISP.V4.String()+" via route wan: answers, in ",
		"unknown  what clients get: nothing runs: nameroute run")
	g.start("run", "--probe-interval", "100ms")
	g.wantProbes("all works", 0,
		"ok       route vpn: up for ",
		"ok       route vpn: packets of this box over IPv4, from br-lan over IPv4, of this box over IPv6, from br-lan over IPv6 leave by wg0, says the kernel",
		"ok       route wan: packets of this box over IPv4, from br-lan over IPv4, of this box over IPv6, from br-lan over IPv6 leave by wan0, says the kernel",
		"ok       route vpn: wg0 shook hands ",
		"ok       resolver "+g.Plan.World.V4.String()+" via route vpn: answers, in ",
		"ok       clients of br-lan: ")
	if out, err := g.Box.Exec(append([]string{binary, "check"}, g.Box.Flags()...)...); err != nil || !strings.Contains(out, "unknown  whether tunnels shake hands, resolvers answer, and packets and clients get through was not tried: nameroute check --active\n") {
		t.Errorf("check without probes: %v\n%s", err, out)
	}

	g.Box.Sh("ip rule add lookup 77 priority 100; ip route add default via " + g.Plan.ISP.V4.String() + " dev wan0 table 77")
	g.wantProbes("a policy rule before ours", 9,
		"error    route vpn: packets of this box over IPv4 would leave by wan0, not by wg0, and are blocked: a policy rule before nameroute's decides (ip -4 rule): remove it, or set `priority:` before it in ")
	g.Box.Run(append([]string{binary, "reload"}, g.Box.Flags()...)...) // it looks at the host again
	g.p.WaitOutput("a check of the host fails state=bad what=\"route vpn: packets of this box over IPv4 would leave by wan0", 30e9)
	g.awaitStatus(func(s page, code int) error {
		told := s.Checks != nil && slices.ContainsFunc(s.Checks.Findings, func(f finding) bool { return strings.Contains(f.Text, "would leave by wan0") })
		return netlab.Check(code == 10 && told, "status: exit code %d, %+v", code, s.Checks)
	})
	g.Box.Sh("ip rule del priority 100")
	g.Box.Run(append([]string{binary, "reload"}, g.Box.Flags()...)...)
	g.p.WaitOutput("a check of the host no longer fails what=\"route vpn: packets of this box over IPv4 would leave by wan0", 30e9)

	g.Tunnel.Silence(true)
	g.wantProbes("the peer is silent", 9, "error    resolver "+g.Plan.World.V4.String()+" via route vpn: no answer to two queries: ")
}

// wantProbes runs `check --active` and wants an exit code and lines that begin so.
func (g *gate) wantProbes(when string, code int, lines ...string) {
	g.t.Helper()
	p := g.Box.Launch(binary, "check", "--active")
	got := exitOf(g.t, p)
	for _, l := range lines {
		if !strings.Contains("\n"+p.Output(), "\n"+l) {
			g.t.Errorf("%s: no line %q", when, l)
		}
	}
	if got != code || g.t.Failed() {
		g.t.Errorf("%s: exit code %d, want %d:\n%s", when, got, code, p.Output())
	}
}
