package test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantee 3: a flow keeps its route.
// The route is in the connection's mark, not in the set.
func TestFlowOutlivesItsElement(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Gateway: "owner: off"})
	addrs := g.resolve("www.listed.example")
	client, box := g.flows(g.Client, netlab.ViaVPN, addrs...), g.flows(g.Box.Host, netlab.ViaVPN, addrs...)
	g.Reset()
	for _, f := range []*flows{client, box} {
		f.resetGap()
	}
	g.deleteElements(addrs...)
	g.wantElements(false, addrs...)
	time.Sleep(500 * time.Millisecond)
	for name, f := range map[string]*flows{"client": client, "box": box} {
		f.wantProgress()
		tcp, udp := f.worst()
		t.Logf("%s: longest gap over TCP %v, over UDP %v", name, tcp, udp)
	}
	g.wantNoneClear(addrs...)
}

// Guarantee 3: a flow keeps its route.
// An element stays while a flow of its route uses it, so that a flow finds its way again
// when conntrack forgets it long after its answer: because it is flushed, or because the
// flow was idle. What no flow uses lapses.
func TestFlowOutlivesItsConntrackEntry(t *testing.T) {
	t.Parallel()
	const floor = 12 * time.Second // half of it may pass without a look, on a machine that is very busy
	g := newGate(t, netlab.Setup{Gateway: fmt.Sprintf("lifetime: {floor: %s, grace: 1s, ceiling: 1h}", floor)})
	for _, name := range []string{"www.listed.example", "idle.listed.example", "unused.listed.example"} {
		g.World.TTL(name, 1)
	}
	addrs, idle, unused := g.resolve("www.listed.example"), g.resolve("idle.listed.example"), g.resolve("unused.listed.example")
	g.Reset()
	var idlers []net.Conn
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.flows(from, netlab.ViaVPN, addrs...)
		for _, a := range idle {
			for _, proto := range []string{"udp", "tcp"} {
				c, err := from.Dial(proto, netip.AddrPortFrom(a, netlab.EchoPort).String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := c.Write([]byte("1")); err != nil {
					t.Fatal(err)
				}
				idlers = append(idlers, c)
			}
		}
	}
	netlab.Eventually(t, 30*time.Second, func() error {
		for _, a := range unused {
			if _, err := g.element(a); err == nil {
				return fmt.Errorf("%s is in its set, and nobody uses it", a)
			}
		}
		return nil
	})
	for began := time.Now(); time.Since(began) < floor/2; time.Sleep(200 * time.Millisecond) {
		g.wantElements(true, append(addrs, idle...)...)
	}
	for range 3 {
		g.conntrack(func(send func([]byte)) { send(conntrackMessage(2, 0, nil)) }) // all, as conntrack -F
		for _, c := range idlers {
			_, _ = c.Write([]byte("2")) // the far end may have ended it: what counts is the way that it takes
		}
		time.Sleep(200 * time.Millisecond)
	}
	g.wantNoneClear(append(addrs, idle...)...)
	for _, a := range append(addrs, idle...) {
		if n := len(g.Tunnel.Inside(wire.To(a))); n == 0 {
			t.Errorf("no packet to %s in the tunnel", a)
		}
	}
}

func TestFlowOutlivesALinkFlap(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{}, quickDown...)
	addrs := g.resolve("www.listed.example")
	client, box := g.flows(g.Client, netlab.ViaVPN, addrs...), g.flows(g.Box.Host, netlab.ViaVPN, addrs...)
	g.Reset()
	for _, f := range []*flows{client, box} {
		f.resetGap()
	}
	flood := g.flood(netlab.ViaVPN, addrs...)
	g.Box.Flap("wg0", 500*time.Millisecond)
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		g.Box.Down("wg0") // and again, because nameroute sets it up at once
	}
	for name, f := range map[string]*flows{"client": client, "box": box} {
		f.wantProgress()
		tcp, udp := f.worst()
		t.Logf("%s: longest gap over TCP %v, over UDP %v", name, tcp, udp)
	}
	t.Logf("%d new flows meanwhile", flood.stop(g))
	g.wantNoneClear(addrs...)
	g.wantVia(g.Client, netlab.ViaVPN, addrs...)
}

// The addresses of a name that is in the cache are learned again when another program has
// deleted them from the sets, and no upstream is queried for that.
func TestRemovedElementIsBack(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Gateway: "owner: off"})
	g.World.TTL("www.listed.example", 3600)
	g.Reset()
	addrs := g.resolve("www.listed.example")
	before := g.World.Queries("www.listed.example")
	for _, remove := range []func(){
		func() { g.deleteElements(addrs...) },
		func() {
			g.Box.Run("nft", "flush", "set", "inet", "nameroute", "vpn4")
			g.Box.Run("nft", "flush", "set", "inet", "nameroute", "vpn6")
		},
	} {
		remove()
		g.wantElements(false, addrs...)
		g.awaitLearnedAgain("www.listed.example", addrs)
		g.wantVia(g.Client, netlab.ViaVPN, addrs...)
		g.wantVia(g.Box.Host, netlab.ViaVPN, addrs...)
	}
	g.wantNoneClear(addrs...)
	if asked := g.World.Queries("www.listed.example"); len(asked) != len(before) {
		t.Errorf("upstream was asked again: %v, after %v", asked, before)
	}
}

// awaitLearnedAgain queries a name, whose answers must be the same, until its addresses are in
// the sets: that they were removed is seen a moment later.
func (g *gate) awaitLearnedAgain(name string, addrs []netip.Addr) {
	g.t.Helper()
	netlab.Eventually(g.t, 30*time.Second, func() error {
		if again := g.resolve(name); fmt.Sprint(again) != fmt.Sprint(addrs) {
			g.t.Fatalf("asked again: %v, want %v", again, addrs)
		}
		for _, a := range addrs {
			if _, err := g.element(a); err != nil {
				return err
			}
		}
		return nil
	})
}

// deleteElements takes addresses out of the sets of route vpn, as another program.
func (g *gate) deleteElements(addrs ...netip.Addr) {
	g.t.Helper()
	for _, a := range addrs {
		g.Box.Run("nft", "delete", "element", "inet", "nameroute", vpnSet(a), "{", a.String(), "}")
	}
}

// wantElements looks for addresses in the sets of route vpn.
func (g *gate) wantElements(want bool, addrs ...netip.Addr) {
	g.t.Helper()
	for _, a := range addrs {
		_, err := g.element(a)
		if there := err == nil; there != want {
			g.t.Errorf("%s in set %s: %v, want %v (%v)", a, vpnSet(a), there, want, err)
		}
	}
}

// element is what nft says of an address in the sets of route vpn. A transaction in the
// middle of it makes it begin again.
func (g *gate) element(a netip.Addr) (text string, err error) {
	for range 10 {
		text, err = g.Box.Exec("nft", "get", "element", "inet", "nameroute", vpnSet(a), "{", a.String(), "}")
		if err == nil || !strings.Contains(err.Error(), "Interrupted system call") {
			break
		}
	}
	return text, err
}

func vpnSet(a netip.Addr) string {
	if a.Is4() {
		return "vpn4"
	}
	return "vpn6"
}

// newQuery is a query for a name's IPv4 address.
func newQuery(name string) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(strings.TrimSpace(name)), dns.TypeA)
}
