package test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// The operator of a tunnel's far end can open no connection to the box or the LAN, over
// either family, TCP, UDP or ICMP, to the tunnel's address, to a LAN client's own, or to one
// that the box translates; what `inbound: accept` had let in goes on, flows of the LAN too.
func TestInboundRefused(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Route: "inbound: accept"})
	g.Tunnel.RouteLAN(append(g.Plan.Client.All(), g.BoxLAN.All()...)...)
	var to []netip.AddrPort
	for _, a := range append(g.Tunnel.Near.All(), g.BoxLAN.All()...) {
		at := netip.AddrPortFrom(a, portBox)
		g.serveEcho(g.Box.Host, at)
		to = append(to, at)
	}
	for _, a := range g.Plan.Client.All() {
		at := netip.AddrPortFrom(a, portLAN)
		g.serveEcho(g.Client, at)
		to = append(to, at)
	}
	for _, at := range to { // the test can see a connection that is let in
		for _, proto := range []string{"tcp", "udp"} {
			if err := g.fromFarEnd(proto, at, 30*time.Second); err != nil {
				t.Fatalf("accepted: %s to %s: %v", proto, at, err)
			}
		}
	}
	old := g.farEndDial("tcp", to[0])
	lan := g.flows(g.Client, netlab.ViaVPN, g.resolve("www.listed.example")...)

	g.Box.Write("gateway.yaml", strings.Replace(g.read("gateway.yaml"), "inbound: accept", "inbound: refuse", 1))
	g.hangUp("reload complete")
	netlab.Eventually(t, 10*time.Second, func() error {
		rules, err := g.Box.Exec("nft", "list", "chain", "inet", "nameroute", "inbound")
		return netlab.Check(err == nil && strings.Contains(rules, "vpn: inbound refused"), "no rule refuses: %v\n%s", err, rules)
	})
	tap := netlab.NewTap(g.Box.Namespace, "br-lan")
	var tries sync.WaitGroup
	for _, at := range to {
		for _, proto := range []string{"tcp", "udp"} {
			tries.Go(func() {
				if g.fromFarEnd(proto, at, time.Second) == nil {
					t.Errorf("%s to %s was let in", proto, at)
				}
			})
		}
		tries.Go(func() {
			if out, err := g.Tunnel.Exec("ping", "-n", "-c1", "-W1", at.Addr().String()); err == nil {
				t.Errorf("ping of %s was answered:\n%s", at.Addr(), out)
			}
		})
	}
	tries.Wait()
	for _, from := range g.Tunnel.Far.All() {
		if sent := tap.Packets(wire.From(from)); len(sent) > 0 {
			t.Errorf("%d packets of the far end reached the LAN, the first: %s", len(sent), sent[0])
		}
	}
	if err := echoOnce(old); err != nil {
		t.Errorf("a connection from before: %v", err)
	}
	lan.wantProgress()
	g.wantVia(g.Client, netlab.ViaVPN, g.resolve("new.listed.example")...)
	g.awaitStatusSays("of new connections from the tunnel refused")
}

// Whatever comes and goes, the far end never reaches the LAN: while nameroute starts and
// ends, and while an interface gets another name or its route is removed. A tunnel that is
// kept from coming up until then is not down.
func TestInboundRefusedMeanwhile(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{OnDown: "wan"})
	g.Tunnel.RouteLAN(g.Plan.Client.All()...)
	tap := netlab.NewTap(g.Box.Namespace, "br-lan")
	flood := g.floodFrom([]*netlab.Host{g.Tunnel.Host}, "", g.Plan.Client.All()...)
	gatewayYAML, corefile := g.read("gateway.yaml"), g.read("Corefile")
	g.Box.Write("wgx.conf", g.read("wg0.conf"))
	reload := func(yaml, corefile string) {
		g.Box.Write("Corefile", corefile)
		g.Box.Write("gateway.yaml", yaml)
		g.hangUp("reload complete")
	}
	awaitNoLink := func(link string) {
		netlab.Eventually(t, 30*time.Second, func() error {
			_, err := g.Box.Exec("ip", "link", "show", link)
			return netlab.Check(err != nil, "%s is still there", link)
		})
	}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"started", func() { g.start(); g.wantNoQueryByWAN("listed.example") }},
		{"another interface", func() {
			reload(strings.ReplaceAll(gatewayYAML, "wg0.conf", "wgx.conf"), corefile)
			awaitNoLink("wg0")
			g.Box.AwaitNames("renamed.listed.example", 30*time.Second)
		}},
		{"route removed", func() {
			before, rest, _ := strings.Cut(gatewayYAML, "routes:")
			_, lists, _ := strings.Cut(rest, "lists:")
			reload(before+"lists:"+lists, ". {\n upstream wan "+g.Plan.ISP.V4.String()+"\n}\n")
			awaitNoLink("wgx")
		}},
		{"route added", func() {
			reload(gatewayYAML, corefile)
			g.Box.AwaitNames("again.listed.example", 30*time.Second)
		}},
		{"down", func() { g.nameroute("down"); awaitNoLink("wg0") }},
	} {
		step.do()
		g.Settle()
		for _, from := range g.Tunnel.Far.All() {
			if sent := tap.Packets(wire.From(from)); len(sent) > 0 {
				t.Errorf("%s: %d packets of the far end reached the LAN, the first: %s", step.name, len(sent), sent[0])
			}
		}
		tap.Reset()
	}
	flood.end()
	if n := flood.sent.Load(); n < 50 {
		t.Errorf("only %d flows were tried: that proves nothing", n)
	}
}

// farEndDial connects from the far end of the tunnel, through it.
func (g *gate) farEndDial(proto string, to netip.AddrPort) net.Conn {
	g.t.Helper()
	conn, err := g.Tunnel.DialWith(net.Dialer{Timeout: 10 * time.Second}, proto, to.String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	return conn
}

// fromFarEnd sends a word through the tunnel to an address behind it, and wants it back.
func (g *gate) fromFarEnd(proto string, to netip.AddrPort, limit time.Duration) error {
	conn, err := g.Tunnel.DialWith(net.Dialer{Timeout: limit}, proto, to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	return echoWithin(conn, limit)
}

func echoOnce(conn net.Conn) error { return echoWithin(conn, 30*time.Second) }

func echoWithin(conn net.Conn, limit time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(conn, buf); err != nil {
		return err
	}
	if string(buf) != "hello" {
		return fmt.Errorf("got %q back", buf)
	}
	return nil
}
