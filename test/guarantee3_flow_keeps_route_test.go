package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
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
	for _, remove := range []func(){
		func() { g.deleteElements(addrs...) },
		func() {
			g.Box.Run("nft", "flush", "set", "inet", "nameroute", "vpn4")
			g.Box.Run("nft", "flush", "set", "inet", "nameroute", "vpn6")
		},
	} {
		remove()
		g.wantElements(false, addrs...)
		if again := g.resolve("www.listed.example"); fmt.Sprint(again) != fmt.Sprint(addrs) {
			t.Fatalf("asked again: %v, want %v", again, addrs)
		}
		g.wantElements(true, addrs...)
		g.wantVia(g.Client, netlab.ViaVPN, addrs...)
		g.wantVia(g.Box.Host, netlab.ViaVPN, addrs...)
	}
	g.wantNoneClear(addrs...)
	if asked := g.World.Queries("www.listed.example"); len(asked) != 2 {
		t.Errorf("upstream was asked %d times, want once for each type: %v", len(asked), asked)
	}
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
