package test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/dnsserver"
)

const moved = "the group leaves by other members"

// deaf makes a provider drop what comes out of the tunnel, or forward it again.
func (g *gate) deaf(tunnel int, on bool) {
	g.t.Helper()
	text := "table inet deaf\ndelete table inet deaf\n"
	if on {
		text += `table inet deaf { chain forward { type filter hook forward priority 0; iifname "wg0" drop; }; }`
	}
	g.Tunnels[tunnel].NFT(text)
}

// Guarantee 3: a flow keeps its route.
// The flows of a member that fails wait with `move: keep`, and go on by it when it works
// again. With `move: cut` they end: a datagram's next one takes another member, a TCP
// connection is reset. Those of other members go on in either case, and so does each flow
// when gateway.yaml changes from one to the other. Not one packet takes the WAN.
func TestGroupMovesFlows(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	asked := g.Plan.World2.V4
	members := fmt.Sprintf("egress: [nl, de], probe: ping %s, fails: 3, good: 2, hold: 1h", asked)
	g.groupOf(members + ", move: keep")
	g.start()
	second := netlab.ViaTunnel(1)
	listed := g.resolve("fresh.listed.example")
	both := []*netlab.Host{g.Client, g.Box.Host}
	for _, from := range both {
		g.awaitVia(from, netlab.ViaVPN, 30*time.Second, listed...)
	}
	g.Reset()
	var kept []*flows
	for _, from := range both {
		kept = append(kept, g.flows(from, netlab.ViaVPN, listed...))
	}

	g.deaf(0, true)
	g.awaitLogged(moved, 1)
	var cut []*flows
	for _, from := range both {
		g.awaitVia(from, second, 30*time.Second, listed...)
		cut = append(cut, g.flowsOfEither(from, second, listed...))
	}
	g.deaf(0, false)
	for _, f := range kept {
		f.wantProgress()
	}
	g.groupOf(members + ", move: cut")
	g.hangUp("reload complete")
	for _, f := range append(kept, cut...) {
		f.wantProgress()
	}
	g.awaitMember("nl", "good")
	if out, _ := g.Box.Exec(append([]string{binary, "check", "--active"}, g.Box.Flags()...)...); !strings.Contains(out, "ok       route vpn: member nl: its probes succeed, says the running nameroute\n") {
		t.Errorf("check does not know the member that rests:\n%s", out)
	}

	g.deaf(1, true)
	g.awaitLogged(moved, 2)
	for _, f := range cut {
		f.wantCut()
	}
	for _, f := range kept {
		f.wantProgress()
	}
	for _, from := range both {
		g.awaitVia(from, netlab.ViaVPN, 30*time.Second, listed...)
	}
	g.wantNoneClear(append(listed, asked)...)
	g.wantNoQueryByWAN("listed.example")
}

// wantCut wants the connections to end and the datagrams to go on.
func (f *flows) wantCut() {
	f.g.t.Helper()
	for _, tcp := range f.tcp {
		netlab.Eventually(f.g.t, goesOnWithin*netlab.Slack(), func() error {
			return netlab.Check(tcp.Report().Err != nil, "the TCP flow by %s has not been ended: %s", tcp.Egress, tcp.Report())
		})
	}
	f.tcp = nil
	f.wantProgress()
}

// awaitMember waits until status says this of a member of the group.
func (g *gate) awaitMember(name, state string) {
	g.t.Helper()
	netlab.Eventually(g.t, 30*time.Second, func() error {
		p, _ := g.status()
		for _, r := range p.Routes {
			for _, m := range r.Members {
				if m.Name == name {
					return netlab.Check(m.State == state, "member %s is %s, want %s", name, m.State, state)
				}
			}
		}
		return fmt.Errorf("no member %s", name)
	})
}

// Promise: a change of a group in gateway.yaml is applied live and loses no flow that it
// need not: members change places, leave and come back, and their flows go on via the route
// that each has begun with. New flows take the members that are in force then.
func TestGroupChangesLive(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	asked := g.Plan.World2.V4
	group := func(members, more string) {
		t.Helper()
		g.groupOf(fmt.Sprintf("egress: %s, probe: ping %s, hold: 200ms, good: 1%s", members, asked, more))
	}
	group("[nl, de]", "")
	g.start()
	second := netlab.ViaTunnel(1)
	listed := g.resolve("fresh.listed.example")
	g.awaitVia(g.Client, netlab.ViaVPN, 30*time.Second, listed...)
	g.Reset()
	open := []*flows{g.flows(g.Client, netlab.ViaVPN, listed...), g.flows(g.Box.Host, netlab.ViaVPN, listed...)}
	for _, change := range []struct {
		members, more string
		want          netlab.Egress
	}{
		{"[de, nl]", "", second},                   // they change places
		{"[nl]", "", netlab.ViaVPN},                // one that is in force leaves
		{"[nl, de]", "", netlab.ViaVPN},            // it is back
		{"[de]", ", on_down: wan", second},         // the other one leaves
		{"[de, nl]", ", policy: failover", second}, // and is back
	} {
		group(change.members, change.more)
		g.hangUp("reload complete")
		for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
			g.awaitVia(from, change.want, 30*time.Second, listed...)
			open = append(open, g.flows(from, change.want, listed...))
		}
		for _, f := range open {
			f.wantProgress()
		}
	}
	g.wantNoneClear(append(listed, asked)...)
	g.wantNoQueryByWAN("listed.example")
}

// Promise: `policy: fastest` takes the member whose probes come back first, after `hold`,
// and a flow stays where it is. A restart adopts the member in force.
func TestGroupTakesTheFastest(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	first, other := g.lateResolver("30.7.7.7"), g.lateResolver("30.7.7.8")
	const late = 700 * time.Millisecond // more than what else makes an answer late
	other.Store(int64(late))
	g.groupOf("egress: [nl, de], probe: dns probe.example, every: 2s, good: 1, hold: 200ms, policy: fastest")
	g.Box.Write("wg0.conf", g.Tunnel.Conf(netlab.ConfOptions{DNS: "30.7.7.7"}))
	g.Box.Write("wg1.conf", g.Tunnels[1].Conf(netlab.ConfOptions{DNS: "30.7.7.8"}))
	g.start()
	listed := g.resolve("fresh.listed.example")
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.awaitVia(from, netlab.ViaVPN, 60*time.Second, listed...)
	}
	g.Reset()
	stay := g.flows(g.Client, netlab.ViaVPN, listed...)
	first.Store(int64(late))
	other.Store(0)
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.awaitVia(from, netlab.ViaTunnel(1), 60*time.Second, listed...)
	}
	g.awaitLogged("de is faster", 1)
	stay.wantProgress()
	g.p.Stop()
	g.start()
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.wantVia(from, netlab.ViaTunnel(1), listed...)
	}
	stay.wantProgress()
	g.wantNoneClear(listed...)
	g.wantNoQueryByWAN("listed.example")
}

// lateResolver is a resolver of the internet that answers after a while.
func (g *gate) lateResolver(addr string) *atomic.Int64 {
	g.t.Helper()
	c, err := g.Internet.ListenPacket("udp", addr+":53")
	if err != nil {
		g.t.Fatal(err)
	}
	after := new(atomic.Int64)
	dnsserver.Start(g.t, &dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		time.Sleep(time.Duration(after.Load()))
		_ = w.WriteMsg(new(dns.Msg).SetReply(q)) // who asked may be gone
	})})
	return after
}

// Guarantee 4: kill switch.
// Members of a group are tunnels of other programs, too, by their interface and by a next
// hop: a program that ends moves the group, its flows go on by the other member where their
// protocol can, and not one packet takes the WAN. With `on_down: wan` all take it when no
// member is left, and the first one when it is back.
func TestGroupOfOtherProgramsTunnels(t *testing.T) {
	t.Parallel()
	netlab.Need(t, "wireguard-go")
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	run := func(n int) *netlab.Process {
		conf := g.Box.Write(fmt.Sprintf("other%d.conf", n), withoutLines(g.Tunnels[n].Conf(netlab.ConfOptions{}), "Address", "DNS"))
		return g.runTunnelAs(fmt.Sprintf("tun%d", n), conf, g.Tunnels[n].Near, 24, 64)
	}
	far := g.Tunnels[1].Far
	group := func(onDown string) {
		g.Box.Write("gateway.yaml", fmt.Sprintf(`lan: [br-lan]
routes:
  nl: {interface: tun0}
  de: {next_hop: [%s, "%s"]}
  vpn: {egress: [nl, de], hold: 200ms, on_down: %s}
lists:
  mine: {file: %s/mine.txt}
`, far.V4, far.V6, onDown, g.Box.Dir))
	}
	g.Box.WriteFiles(netlab.Setup{NoTunnel: true})
	group("block")
	first, other := run(0), run(1)
	g.start()
	second := netlab.ViaTunnel(1)
	listed := g.resolve("fresh.listed.example")
	both := []*netlab.Host{g.Client, g.Box.Host}
	var open []*flows
	g.Reset()
	for _, from := range both {
		g.awaitVia(from, netlab.ViaVPN, 30*time.Second, listed...)
		open = append(open, g.flowsOfEither(from, netlab.ViaVPN, listed...))
	}

	first.Kill()
	g.awaitLogged(moved, 1)
	for i, from := range both {
		g.awaitVia(from, second, 30*time.Second, listed...)
		open[i].wantCut()
	}
	first = run(0)
	g.awaitVia(g.Client, netlab.ViaVPN, 30*time.Second, listed...)
	for _, f := range open {
		f.wantProgress()
		f.close()
	}
	first.Kill()
	other.Kill()
	g.awaitLogged("no member of the group is in force", 1)
	for _, from := range both {
		g.wantClosed(from, listed...)
	}
	g.wantNoneClear(listed...)
	g.wantNoQueryByWAN("listed.example")

	group("wan")
	g.hangUp("reload complete")
	for _, from := range both {
		g.awaitVia(from, netlab.ViaWAN, 30*time.Second, listed...)
	}
	g.Box.AwaitNames("down.listed.example", 30*time.Second)
	run(0)
	for _, from := range both {
		g.awaitVia(from, netlab.ViaVPN, 30*time.Second, listed...)
	}
	g.Reset()
	g.Box.AwaitNames("up.listed.example", 30*time.Second)
	for _, from := range both {
		g.wantVia(from, netlab.ViaVPN, listed...)
	}
	g.wantNoneClear(listed...)
}
