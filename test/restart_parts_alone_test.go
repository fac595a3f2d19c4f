package test

import (
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// The two parts as two processes: each is killed, or stopped, and started again alone
// under traffic, and nothing leaves by a wrong egress meanwhile.
func TestPartsRestartAlone(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	sidecar := g.launchGateway()
	dns := g.start("dns")
	addrs := g.resolve("www.listed.example")
	forwarded, own := g.flows(g.Client, netlab.ViaVPN, addrs...), g.flows(g.Box.Host, netlab.ViaVPN, addrs...)
	g.wantSettledTable()
	before, elements := g.kernelState(), g.elements()
	g.Reset()
	flood := g.flood(netlab.ViaVPN, addrs...)
	goOn := func() { // no packet waits for the resolver
		t.Helper()
		forwarded.wantProgress()
		own.wantProgress()
	}
	for _, c := range []struct {
		name string
		act  func()
	}{
		{"dns killed", func() { dns.Kill(); goOn(); dns = g.start("dns") }},
		{"dns stopped", func() { g.stop(dns); goOn(); dns = g.start("dns") }},
		{"gateway killed", func() { sidecar.Kill(); sidecar = g.launchGateway() }},
		{"gateway stopped", func() { g.stop(sidecar); sidecar = g.launchGateway() }},
	} {
		forwarded.resetGap()
		own.resetGap()
		began := time.Now()
		c.act()
		forwarded.wantProgress()
		own.wantProgress()
		g.Box.AwaitNames("again.listed.example", 5*time.Second)
		took := time.Since(began).Round(time.Millisecond)
		tcp, udp := forwarded.worst()
		ownTCP, ownUDP := own.worst()
		t.Logf("%s: all answers again after %v; longest gap of forwarded flows over TCP %v, over UDP %v; of the box's own %v, %v",
			c.name, took, tcp, udp, ownTCP, ownUDP)
		g.wantSubset(elements, g.elements())
	}
	t.Logf("%d new flows meanwhile", flood.stop(g))
	g.wantSettledTable()
	g.wantSame("after all", before, g.kernelState())
	g.wantNoneClear(append(addrs, g.Plan.World.All()...)...)
	g.wantNoQueryByWAN("listed.example")
}

// A machine that shuts down, or a package that is removed, ends the parts in any order.
// Nothing opens by that: what was learned goes nowhere, and all else goes on.
func TestPartsEnd(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"dns process first", "sidecar first"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			g.Box.WriteFiles(netlab.Setup{})
			first, second := g.launchGateway(), g.start("dns")
			if order == "dns process first" {
				first, second = second, first
			}
			addrs, others := g.resolve("www.listed.example"), g.resolve("www.other.example")
			forwarded, own := g.flows(g.Client, netlab.ViaVPN, addrs...), g.flows(g.Box.Host, netlab.ViaVPN, addrs...)
			plain := g.flows(g.Client, netlab.ViaWAN, others...)
			g.wantSettledTable()
			before, elements := g.kernelState(), g.elements()
			g.Reset()
			flood := g.flood(netlab.ViaVPN, addrs...)
			for _, p := range []*netlab.Process{first, second} {
				g.stop(p)
				time.Sleep(300 * time.Millisecond)
				g.wantNoneClear(addrs...)
			}
			g.wantClosed(g.Client, addrs...)
			g.wantClosed(g.Box.Host, addrs...)
			g.wantSame("after both ended", before, g.kernelState())
			g.wantSubset(elements, g.elements())
			plain.wantProgress()
			tcp, udp := plain.worst()
			t.Logf("flows via the WAN: longest gap over TCP %v, over UDP %v; %d new flows to listed addresses meanwhile", tcp, udp, flood.stop(g))

			// And on again, the other way round.
			g.launchGateway()
			g.start("dns")
			for name, f := range map[string]*flows{"forwarded": forwarded, "own": own} {
				f.wantProgress()
				tcp, udp := f.worst()
				t.Logf("%s flows through all of it: longest gap over TCP %v, over UDP %v", name, tcp, udp)
			}
			g.wantNoneClear(addrs...)
			g.wantNoQueryByWAN("listed.example")
		})
	}
}

// Forwarding is switched on last, when the nft table is in place: before, a box that
// did not forward forwards nothing, whichever part is started first.
func TestForwardingComesLast(t *testing.T) {
	t.Parallel()
	const forwarding = "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n"
	sysctls := []string{"sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"}
	t.Run("sidecar first", func(t *testing.T) {
		t.Parallel()
		g := bareGate(t, netlab.Options{GoResolvers: true, NotRouting: true})
		g.Box.WriteFiles(netlab.Setup{})
		addrs := g.World.Addresses("www.listed.example").All()
		g.launchGateway()
		g.Box.AwaitEgress("wg0", 5*time.Second)
		time.Sleep(300 * time.Millisecond)
		if now := g.Box.Run(sysctls...); strings.Contains(now, "= 1") {
			t.Errorf("forwarding is on without the nft table:\n%s", now)
		}
		g.wantClosed(g.Client, addrs...)
		g.wantNoneClear(addrs...)
		g.Reset()

		flood := g.flood(netlab.ViaVPN, g.World.Addresses("first.listed.example").All()...)
		g.Box.AwaitDNS(g.launchDNS(), 15*time.Second)
		g.Box.AwaitNames("listed.example", 5*time.Second)
		first := g.resolve("first.listed.example")
		g.awaitVia(g.Client, netlab.ViaVPN, 5*time.Second, first...)
		if now := g.Box.Run(sysctls...); now != forwarding {
			t.Errorf("forwarding is not on with the nft table:\n%s", now)
		}
		flood.end() // before the name was queried its addresses had no route
	})
	t.Run("dns process first", func(t *testing.T) {
		t.Parallel()
		g := bareGate(t, netlab.Options{GoResolvers: true, NotRouting: true})
		g.Box.WriteFiles(netlab.Setup{})
		g.Box.AwaitDNS(g.launchDNS(), 15*time.Second)
		if _, err := g.Client.Resolve("too-early.listed.example"); err == nil {
			t.Error("a listed name was answered without any tunnel")
		}
		g.resolve("www.other.example")
		if now := g.Box.Run(sysctls...); strings.Contains(now, "= 1") {
			t.Errorf("the resolver has switched forwarding on:\n%s", now)
		}
		g.wantNoQueryByWAN("listed.example")
		g.launchGateway()
		g.Box.AwaitNames("ready.listed.example", 8*time.Second)
		addrs := g.resolve("www.listed.example")
		g.awaitVia(g.Client, netlab.ViaVPN, 5*time.Second, addrs...)
		g.wantVia(g.Box.Host, netlab.ViaVPN, addrs...)
		if now := g.Box.Run(sysctls...); now != forwarding {
			t.Errorf("forwarding is not on:\n%s", now)
		}
		g.wantNoneClear(addrs...)
		g.wantNoQueryByWAN("listed.example")
	})
}

// launchGateway starts the sidecar alone, with short timers.
func (g *gate) launchGateway() *netlab.Process {
	g.t.Helper()
	p := g.Box.Launch(binary, append([]string{"gateway"}, quickDown[1:]...)...)
	g.logs(p)
	return p
}

// launchDNS starts the resolver alone.
func (g *gate) launchDNS() *netlab.Process {
	g.t.Helper()
	p := g.Box.Launch(binary, "dns")
	g.logs(p)
	return p
}

func (g *gate) stop(p *netlab.Process) {
	g.t.Helper()
	if err := p.Stop(); err != nil {
		g.t.Errorf("SIGTERM: process %d ended with %v", p.Pid, err)
	}
}
