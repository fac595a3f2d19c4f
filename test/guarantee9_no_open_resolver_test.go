package test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 9: no open resolver.
// Queries from outside are not answered, whatever address of the box they are sent to.
func TestQueriesFromOutsideAreNotAnswered(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	// Both know the way to the LAN's address of the box, as a neighbour may.
	g.ISP.IP("route add 192.168.77.0/24 via 31.0.1.2", "route add fd77::/64 via 2a0e:1::2")
	g.Tunnel.IP("route add 192.168.77.0/24 dev wg0", "route add fd77::/64 dev wg0")
	g.Reset()

	var done sync.WaitGroup
	ask := func(from *netlab.Host, at netip.Addr, proto, name string, want bool) {
		done.Go(func() {
			reply, err := from.QueryAt(netip.AddrPortFrom(at, 53), newQuery(name), proto)
			answered := err == nil && reply.Rcode == dns.RcodeSuccess && len(reply.Answer) > 0
			switch {
			case want && !answered:
				t.Errorf("%s at %s over %s: %v, %v; want an answer", from.Name, at, proto, reply, err)
			case !want && err == nil:
				t.Errorf("%s at %s over %s: answered %v; want silence", from.Name, at, proto, reply)
			}
		})
	}
	box := append(g.BoxLAN.All(), g.BoxWAN.All()...)
	n := 0
	for _, proto := range []string{"udp", "tcp"} {
		for _, at := range box {
			for _, domain := range []string{"listed.example", "other.example"} {
				n++
				ask(g.ISP.Host, at, proto, fmt.Sprintf("isp%d.%s", n, domain), false)
				ask(g.Tunnel.Host, at, proto, fmt.Sprintf("vpn%d.%s", n, domain), false)
				ask(g.Client, at, proto, fmt.Sprintf("client%d.%s", n, domain), true)
				ask(g.Box.Host, at, proto, fmt.Sprintf("box%d.%s", n, domain), true)
			}
		}
		for _, at := range g.Tunnel.Near.All() {
			ask(g.Tunnel.Host, at, proto, fmt.Sprintf("near-%s.listed.example", proto), false)
			ask(g.Box.Host, at, proto, fmt.Sprintf("own-%s.listed.example", proto), true)
		}
		for _, at := range parse("127.0.0.1", "::1") {
			ask(g.Box.Host, at, proto, fmt.Sprintf("lo-%s.listed.example", proto), true)
		}
	}
	done.Wait()
	for _, q := range g.World.Queries() {
		for _, outside := range []string{"isp", "vpn", "near"} {
			if len(q.Name) >= len(outside) && q.Name[:len(outside)] == outside {
				t.Errorf("a server outside was asked: %s", q)
			}
		}
	}
	// The ISP itself is reached, so silence is the box's will and not a missing way.
	if _, err := g.ISP.Exec("ping", "-n", "-c1", "-W30", g.BoxLAN.V4.String()); err != nil {
		t.Errorf("the box cannot be reached at all: %v", err)
	}
}

// Guarantee 9: no open resolver.
// From the first moment on: the port is open before anything else is ready.
func TestNoAnswerToOutsideWhileStarting(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	stop := make(chan struct{})
	var done sync.WaitGroup
	for _, at := range g.BoxWAN.All() {
		done.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if egress, err := g.outsideAnswer(at, fmt.Sprintf("early%d.other.example", i)); err == nil {
					t.Errorf("a foreign client at %s was answered: %s", at, egress)
					return
				}
			}
		})
	}
	g.start()
	close(stop)
	done.Wait()
	if asked := g.World.Queries("other.example"); len(asked) > 0 {
		t.Errorf("a server outside was asked: %s", asked[0])
	}
}

// outsideAnswer asks the box from the ISP and waits 20 ms only.
func (g *gate) outsideAnswer(at netip.Addr, name string) (string, error) {
	conn, err := g.ISP.Dial("udp", netip.AddrPortFrom(at, 53).String())
	if err != nil {
		return "", err
	}
	c := &dns.Conn{Conn: conn}
	defer c.Close()
	if err := c.WriteMsg(newQuery(name)); err != nil {
		return "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		return "", err
	}
	reply, err := c.ReadMsg()
	return fmt.Sprint(reply), err
}
