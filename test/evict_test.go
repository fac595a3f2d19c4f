package test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// When a name joins a list and is asked for, flows to its addresses that are older go on
// via the WAN, or with `evict: true` are evicted to the tunnel: a datagram's next one takes
// it, a TCP connection ends and is made again. From then on not one packet to them leaves
// via the WAN, and nothing else is touched. The same holds where gateway.yaml names several
// interfaces of the WAN.
func TestEvict(t *testing.T) {
	t.Parallel()
	for name, route := range map[string]string{"evict": "evict: true\n", "leave": "", "evict, two uplinks": "evict: true\n", "leave, two uplinks": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			g.Box.WriteFiles(netlab.Setup{Route: route, Plugins: "prometheus 127.0.0.1:9153"})
			if strings.HasSuffix(name, "two uplinks") {
				g.AddWAN()
				g.Box.Write("gateway.yaml", strings.Replace(g.read("gateway.yaml"), "wan: auto", "wan: [wan0, wan1]", 1))
			}
			g.start()
			addrs, others := g.resolve("www.new.example"), g.resolve("www.other.example")
			old := g.oldFlows(addrs...)
			bystanders := g.flows(g.Client, netlab.ViaWAN, others...)
			inbound := g.inboundFlow(addrs[0])

			g.Box.Write("mine.txt", "listed.example\nnew.example\n")
			listed := g.awaitJoined("www.new.example")
			g.wantVia(g.Client, netlab.ViaVPN, addrs...)
			g.wantVia(g.Box.Host, netlab.ViaVPN, addrs...)
			if route == "" {
				old.wantProgress()
				// Later than the listing by more than it takes until an eviction would be done.
				for _, a := range addrs {
					netlab.Eventually(t, 5*time.Second, func() error {
						n := len(g.ISP.Clear(wire.To(a), since(listed.Add(evictedWithin))))
						return netlab.Check(n > 0, "no packet to %s via the WAN: a flow that is older than the listing was evicted", a)
					})
				}
				return
			}
			old.wantEvicted(listed, addrs...)
			bystanders.wantProgress()
			inbound()
			g.awaitOutput("reset flows to newly routed addresses", 10*time.Second)
			if got, _ := metric(t, g.metrics(), "coredns_route_evicted_flows_total", `route="vpn"`); got < 1 {
				t.Errorf("the metric counts %v evicted flows", got)
			}
			if err := g.call("tcp", addrs[0], netip.AddrPortFrom(g.BoxWAN.V4, portBox)); err != nil {
				t.Errorf("the host of an evicted flow comes in via the WAN: %v", err)
			}
			g.wantSettledTable()
		})
	}
}

// What joins by a list of prefixes is evicted without any query.
func TestEvictPrefixes(t *testing.T) {
	t.Parallel()
	g := prefixGate(t, "evict: true\n", map[string]string{"chnroute": "chnroute.txt"})
	g.Box.Write("chnroute.txt", "30.200.0.0/16\n2a0f:aa:7::/48\n")
	g.start()
	addrs := parse("30.201.1.1", "2a0f:aa:8::1")
	old := g.oldFlows(addrs...)
	bystanders := g.flows(g.Client, netlab.ViaWAN, parse("30.202.1.1", "2a0f:aa:9::1")...)
	tunnelled := g.flows(g.Client, netlab.ViaVPN, parse("30.200.1.1", "2a0f:aa:7::1")...)
	tunnelled.resetGap()
	g.Box.Write("chnroute.txt", "30.200.0.0/15\n2a0f:aa:7::/48\n2a0f:aa:8::/48\n192.168.0.0/16\n31.0.0.0/8\n2a0e::/16\n")
	for _, set := range []string{"vpn4p", "vpn6p"} {
		a := map[string]netip.Addr{"vpn4p": addrs[0], "vpn6p": addrs[1]}[set]
		netlab.Eventually(t, 10*time.Second, func() error {
			_, err := g.Box.Exec("nft", "get", "element", "inet", "nameroute", set, "{ "+a.String()+" }")
			return err
		})
	}
	old.wantEvicted(time.Now(), addrs...)
	bystanders.wantProgress()
	tunnelled.wantProgress()
	tcp, udp := tunnelled.worst()
	t.Logf("flows that were in the tunnel: longest gap over TCP %v, over UDP %v", tcp, udp)
}

// Guarantee 7: restart, reload, upgrade, crash, flush: nothing is lost.
// Flows that begin while there is no table of ours, because another program removed it and no
// nameroute runs, go via the WAN. The next start moves them, whatever the route says about
// evict; it touches no others. What is in the table's place by prefixes counts, too.
func TestEvictAfterAStartWithoutTable(t *testing.T) {
	t.Parallel()
	g := prefixGate(t, "", map[string]string{"chnroute": "chnroute.txt"})
	g.Box.Write("gateway.yaml", g.read("gateway.yaml")+"owner: off\n")
	g.Box.Write("chnroute.txt", "30.200.0.0/16\n2a0f:aa:7::/48\n")
	g.start()
	addrs := append(g.resolve("www.listed.example"), parse("30.200.1.1", "2a0f:aa:7::1")...)
	if err := g.p.Stop(); err != nil {
		t.Fatal(err)
	}
	g.Box.NFT("delete table inet nameroute")
	old := g.oldFlows(addrs...)
	bystanders := g.flows(g.Client, netlab.ViaWAN, parse("30.202.1.1", "2a0f:aa:9::1")...)
	g.start()
	old.wantEvicted(time.Now(), addrs...)
	bystanders.wantProgress()
	g.wantVia(g.Client, netlab.ViaVPN, addrs...)
	g.wantVia(g.Box.Host, netlab.ViaVPN, addrs...)

	// A start that finds the table leaves flows where they are.
	if err := g.p.Stop(); err != nil {
		t.Fatal(err)
	}
	g.start()
	if strings.Contains(g.p.Output(), "reset flows") {
		t.Error("a start that found the table reset flows")
	}
}

// oldFlows opens flows from the client and the box, which go via the WAN.
func (g *gate) oldFlows(addrs ...netip.Addr) *flows {
	g.t.Helper()
	all := &flows{g: g}
	for i, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.wantVia(from, netlab.ViaWAN, addrs...)
		for _, a := range addrs {
			g.stream(from, netip.AddrPortFrom(a, uint16(9000+i)))
			all.tcp, all.udp = append(all.tcp, from.Flow(a)), append(all.udp, g.datagrams(from, a, ""))
		}
	}
	all.wantProgress()
	return all
}

// stream has a server send on and on to a client that asked it once: what is left when its flow is
// evicted would be told by ICMP, via the WAN, that the port is closed.
func (g *gate) stream(from *netlab.Host, at netip.AddrPort) {
	g.t.Helper()
	server, err := g.Internet.ListenPacket("udp", at.String())
	if err != nil {
		g.t.Fatal(err)
	}
	conn, err := from.Dial("udp", at.String())
	if err == nil {
		_, err = conn.Write([]byte("go"))
	}
	if err == nil {
		err = server.SetReadDeadline(time.Now().Add(30 * time.Second))
	}
	var to net.Addr
	if err == nil {
		_, to, err = server.ReadFrom(make([]byte, 10))
	}
	if err != nil {
		g.t.Fatalf("%s: a stream from %s: %v", from.Name, at, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !errors.Is(err, net.ErrClosed) {
			_, err = server.WriteTo([]byte("more"), to) // that it is lost is what the test is about
			time.Sleep(5 * time.Millisecond)
		}
	}()
	g.t.Cleanup(func() { server.Close(); <-done; conn.Close() })
}

// awaitJoined queries a name until its addresses are routed, and says when that was.
func (g *gate) awaitJoined(name string) (at time.Time) {
	g.t.Helper()
	netlab.Eventually(g.t, 10*time.Second, func() error {
		addrs := g.resolve(name)
		at = time.Now()
		for _, a := range addrs {
			if _, err := g.Box.Exec("nft", "get", "element", "inet", "nameroute", vpnSet(a), "{ "+a.String()+" }"); err != nil {
				return err
			}
		}
		return nil
	})
	return at
}

// evictedWithin is how long after an address joined a route its older flows still go via the
// WAN at most, unless the machine is busy. Each sends a hundred times in it.
const evictedWithin = time.Second

// wantEvicted wants every TCP connection ended and every flow of datagrams to go on via the
// tunnel, and then no packet via the WAN any more.
func (f *flows) wantEvicted(joined time.Time, addrs ...netip.Addr) {
	g := f.g
	g.t.Helper()
	for _, c := range f.tcp {
		if err := netlab.Poll(30*time.Second, func() error {
			r := c.Report()
			return netlab.Check(r.Err != nil, "a TCP connection does not end: %s", r)
		}); err != nil {
			g.t.Error(err)
		}
	}
	for _, d := range f.udp {
		if !d.progress(30 * time.Second) {
			g.t.Errorf("a flow of datagrams to %s does not go on", d.to)
		}
	}
	var clear []wire.Packet
	netlab.Eventually(g.t, 30*time.Second, func() error {
		clear = g.ISP.Clear(wire.To(addrs...))
		if len(clear) == 0 {
			g.t.Fatal("no packet went via the WAN at all: that none does now would prove nothing")
		}
		last := clear[len(clear)-1]
		return netlab.Check(time.Since(last.When) > evictedWithin, "packets leave via the WAN: %s", last)
	})
	last := clear[len(clear)-1]
	g.t.Logf("the last of %d packets via the WAN left %v after the addresses had joined the route", len(clear), last.When.Sub(joined).Round(time.Millisecond))
	for _, a := range addrs {
		netlab.Eventually(g.t, 30*time.Second, func() error {
			n := len(g.Tunnel.Inside(wire.To(a), since(last.When)))
			return netlab.Check(n > 0, "no packet to %s in the tunnel", a)
		})
	}
	_, udp := f.worst()
	g.t.Logf("longest gap over UDP %v", udp)
}

// since chooses packets from a moment on.
func since(at time.Time) wire.Filter {
	return func(p wire.Packet) bool { return p.When.After(at) }
}

// inboundFlow has a host of the internet connect to the box via the WAN, and returns what
// wants the connection to work still.
func (g *gate) inboundFlow(source netip.Addr) func() {
	g.t.Helper()
	to := netip.AddrPortFrom(g.BoxWAN.V4, portBox)
	g.serveEcho(g.Box.Host, to)
	conn, err := g.Internet.DialWith(net.Dialer{Timeout: 10 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))}, "tcp", to.String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	echo := func() {
		g.t.Helper()
		err := conn.SetDeadline(time.Now().Add(30 * time.Second))
		if err == nil {
			_, err = conn.Write([]byte("x"))
		}
		if err == nil {
			_, err = io.ReadFull(conn, make([]byte, 1))
		}
		if err != nil {
			g.t.Errorf("a connection that came in via the WAN: %v", err)
		}
	}
	echo()
	return echo
}
