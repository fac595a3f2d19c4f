package test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// 120 addresses do not fit into a datagram: the client asks again over TCP, and may
// then connect to any of them.
func TestBigAnswers(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	const many = 120
	g.World.Behave("big.listed.example", netlab.Behavior{Addresses: many})
	g.World.Behave("short.listed.example", netlab.Behavior{Addresses: many, Truncated: true})
	g.Reset()
	for i, name := range []string{"a.big.listed.example", "b.big.listed.example", "a.short.listed.example", "b.short.listed.example"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			t.Run(fmt.Sprintf("%s %s", name, dns.TypeToString[qtype]), func(t *testing.T) {
				g := g.in(t)
				proto := []string{"", "6"}[i%2]
				over := g.query(name, qtype, "udp"+proto)
				over.Compress = true // as it was on the wire
				if !over.Truncated || over.Len() > 1232 {
					t.Errorf("over UDP: truncated %v, %d bytes; want it truncated to at most 1232", over.Truncated, over.Len())
				}
				g.wantLearned("vpn", addressesIn(over)...)
				addrs := addressesIn(g.query(name, qtype, "tcp"+proto))
				if len(addrs) != many {
					t.Fatalf("over TCP: %d addresses, want %d", len(addrs), many)
				}
				g.wantLearned("vpn", addrs...)
				var done sync.WaitGroup
				for _, a := range addrs {
					done.Go(func() {
						if egress, err := g.Client.Connect(a); err != nil || egress != netlab.ViaVPN {
							t.Errorf("%s: went %q, %v; want %s", a, egress, err, netlab.ViaVPN)
						}
					})
				}
				done.Wait()
				g.wantNoneClear(addrs...)
			})
		}
	}
	g.wantAsked(netlab.ViaVPN, g.World.Queries("listed.example"))
	g.wantNoQueryByWAN("listed.example")
}

// A client that says it takes 65,535 bytes gets no fragments, in no block.
func TestNoLargeDatagrams(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	for _, domain := range []string{"big.listed.example", "big.other.example"} {
		g.World.Behave(domain, netlab.Behavior{Addresses: 120})
		for _, size := range []uint16{512, 1232, 4096, 65535} {
			for range 2 { // fresh and cached
				m := new(dns.Msg).SetQuestion(domain+".", dns.TypeA)
				m.SetEdns0(size, false)
				reply, err := g.Client.Query(m, "udp")
				if err != nil {
					t.Fatal(err)
				}
				reply.Compress = true // as it was on the wire
				if limit := min(int(size), 1232); !reply.Truncated || reply.Len() > limit || len(reply.Answer) == 0 {
					t.Errorf("%s for a client of %d bytes: TC %v, %d bytes", domain, size, reply.Truncated, reply.Len())
				}
			}
		}
	}
}

// Guarantee 1: set before answer.
// The first answer over TCP, with nothing in the cache: all are in the sets before it.
func TestBigFreshAnswersOverTCP(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	g.World.Behave("big.listed.example", netlab.Behavior{Addresses: 120})
	g.Reset()
	for _, proto := range []string{"tcp", "tcp6"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			name := fmt.Sprintf("%s-%d.big.listed.example", proto, qtype)
			addrs, err := g.askAndConnectLast(name, qtype, proto)
			if err != nil {
				t.Error(err)
			}
			g.wantLearned("vpn", addrs...)
			g.wantNoneClear(addrs...)
		}
	}
}

// askAndConnectLast connects to the last addresses of an answer first.
func (g *gate) askAndConnectLast(name string, qtype uint16, proto string) (addrs []netip.Addr, err error) {
	reply, err := g.lookup(g.Client, name, qtype, proto)
	if err != nil {
		return nil, err
	}
	addrs = addressesIn(reply)
	if len(addrs) != 120 {
		return nil, fmt.Errorf("%s: %d addresses, want 120", name, len(addrs))
	}
	for i := range addrs {
		a := addrs[len(addrs)-1-i]
		if egress, err := g.Client.Connect(a); err != nil || egress != netlab.ViaVPN {
			return nil, fmt.Errorf("%s: went %q, %v; want %s", a, egress, err, netlab.ViaVPN)
		}
	}
	return addrs, nil
}
