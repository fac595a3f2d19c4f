package test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// rush has many clients ask at once, and each connects to all that it is answered in
// the instant of the answer. It returns the addresses that were connected to.
func (g *gate) rush(names []string, at int) []netip.Addr {
	g.t.Helper()
	var (
		mu    sync.Mutex
		addrs []netip.Addr
		done  sync.WaitGroup
		slots = make(chan struct{}, at)
	)
	for i, name := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			done.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				got, err := g.askAndConnect(name, qtype, protos[i%len(protos)])
				if err != nil {
					g.t.Errorf("%s %s over %s: %v", name, dns.TypeToString[qtype], protos[i%len(protos)], err)
				}
				mu.Lock()
				defer mu.Unlock()
				addrs = append(addrs, got...)
			})
		}
	}
	done.Wait()
	return addrs
}

// askAndConnect asks from the client and connects to every address of the answer.
func (g *gate) askAndConnect(name string, qtype uint16, proto string) ([]netip.Addr, error) {
	reply, err := g.lookup(g.Client, name, qtype, proto)
	if err != nil {
		return nil, err
	}
	addrs := addressesIn(reply)
	if len(addrs) == 0 {
		return nil, fmt.Errorf("no address in %v", reply)
	}
	for _, a := range addrs {
		if egress, err := g.Client.Connect(a); err != nil || egress != netlab.ViaVPN {
			return nil, fmt.Errorf("%s: went %q, %v; want %s", a, egress, err, netlab.ViaVPN)
		}
	}
	return addrs, nil
}

// Guarantee 1: set before answer.
// A client that is faster than the kernel's acknowledgement would leave via the WAN with its
// first packet.
func TestFreshNamesConnectedToAtOnce(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	g.Reset()
	fresh := numbered(400, "listed.example")
	began := time.Now()
	addrs := g.rush(fresh, 32)
	t.Logf("400 fresh names, A and AAAA, asked and connected to in %v", time.Since(began).Round(time.Millisecond))
	if len(addrs) != 800 {
		t.Errorf("%d addresses, want 800", len(addrs))
	}
	g.wantNoneClear(addrs...)
	g.wantLearned("vpn", addrs...)

	// The same again come from the cache.
	g.Reset()
	cached := g.rush(fresh[:100], 32)
	g.wantNoneClear(cached...)
	if again := g.World.Queries(); len(again) > 0 {
		t.Errorf("%d queries about cached names, the first: %s", len(again), again[0])
	}
}

// Guarantee 1: set before answer.
// Cached answers are as good as fresh ones after the sets were emptied under them, as soon as
// the kernel has told so.
func TestCachedNamesAfterTheSetsWereEmptied(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Gateway: "owner: off"})
	cached := numbered(40, "listed.example")
	for range 3 { // fresh, from the cache, and from memory
		g.rush(cached, 16)
	}
	last := g.resolve("last.listed.example")
	g.Box.Run("nft", "flush", "set", "inet", "nameroute", "vpn4")
	g.Box.Run("nft", "flush", "set", "inet", "nameroute", "vpn6")
	g.awaitLearnedAgain("last.listed.example", last)
	g.deleteElements(last...) // of which the kernel tells after all the others
	g.awaitLearnedAgain("last.listed.example", last)
	g.Reset()
	addrs := g.rush(cached, 16)
	if len(addrs) != 80 {
		t.Errorf("%d addresses, want 80", len(addrs))
	}
	g.wantNoneClear(addrs...)
	if again := g.World.Queries(); len(again) > 0 {
		t.Errorf("%d queries about cached names, the first: %s", len(again), again[0])
	}
}

// Guarantee 1: set before answer.
// Fifty clients send the same query at once: one leaves the box, and is repeated if need be, all are answered, and none
// is answered before the address is in the set.
func TestCoalescedAnswers(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	g.World.Behave("slow.listed.example", netlab.Behavior{Delay: 300 * time.Millisecond})
	g.Reset()
	same := make([]string, 50)
	for i := range same {
		same[i] = "slow.listed.example"
	}
	addrs := g.rush(same, 100)
	if len(addrs) != 100 {
		t.Errorf("%d addresses, want 100", len(addrs))
	}
	g.wantNoneClear(addrs...)
	asked := g.World.Queries("slow.listed.example")
	g.wantAsked(netlab.ViaVPN, asked)
	// A resolver that takes its time is asked again, more often on a busy machine. A query for
	// each client would be a hundred.
	if len(asked) < 2 || len(asked) > 40 {
		t.Errorf("asked upstream %d times, want once for each type, and some times more: %v", len(asked), asked)
	}
}

// Guarantee 1: set before answer.
// An answer that the cache has prefetched, for no client, is learned when the
// first client gets it.
func TestPrefetchedAnswers(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    listed mine
    route vpn
    cache {
        prefetch 1 1m 90%%
    }
    upstream vpn %s
}
. {
    upstream wan %s
}
`, g.Plan.World.V4, g.Plan.ISP.V4))
	g.start()
	qtypes := []uint16{dns.TypeA, dns.TypeAAAA}
	before := map[string][]netip.Addr{}
	script := func(name, host string) {
		g.World.Remove(name)
		at := g.World.Addresses(host)
		g.World.Add(fmt.Sprintf("%s. 10 IN A %s", name, at.V4), fmt.Sprintf("%s. 10 IN AAAA %s", name, at.V6))
	}
	for i, proto := range protos {
		name := proto + ".listed.example"
		script(name, "old."+name)
		before[name] = addressesIn(g.query(name, qtypes[i%2], proto))
		script(name, "fresh."+name)
	}
	g.Reset()
	for i, proto := range protos {
		name := proto + ".listed.example"
		fresh := g.World.Addresses("fresh." + name)
		var got []netip.Addr
		var err error
		netlab.Eventually(t, 5*time.Second, func() error {
			if got, err = g.askAndConnect(name, qtypes[i%2], proto); err != nil {
				t.Fatal(err)
			}
			return netlab.Check(!slices.Equal(got, before[name]), "%s: still answered %v, want one of %v by a prefetch", name, got, fresh.All())
		})
		if len(got) != 1 || !fresh.Has(got[0]) {
			t.Fatalf("%s: answered %v, want one of %v by a prefetch", name, got, fresh.All())
		}
		g.wantAsked(netlab.ViaVPN, g.World.Queries(name))
		g.wantNoneClear(append(fresh.All(), before[name]...)...)
	}
}
