package test

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// flood is new flows without an end: over TCP and UDP, forwarded from the client and
// from the box's own processes.
type flood struct {
	stopped chan struct{}
	done    sync.WaitGroup
	sent    atomic.Int64
	wrong   sync.Map // ways that it did not want, by a description
}

// flood opens flows to the addresses until it is stopped. What is answered must have
// gone by the egress that is wanted.
func (g *gate) flood(want netlab.Egress, addrs ...netip.Addr) *flood {
	return g.floodFrom([]*netlab.Host{g.Client, g.Box.Host}, want, addrs...)
}

func (g *gate) floodFrom(hosts []*netlab.Host, want netlab.Egress, addrs ...netip.Addr) *flood {
	f := &flood{stopped: make(chan struct{})}
	patience := 40 * time.Millisecond * netlab.Slack()
	for _, from := range hosts {
		for _, a := range addrs {
			for proto, send := range map[string]func(netip.Addr, time.Duration) (netlab.Egress, error){
				"TCP": from.ConnectWithin, "UDP": from.AskWithin,
			} {
				f.repeat(func() {
					f.sent.Add(1)
					if egress, err := send(a, patience); err == nil && egress != want {
						f.wrong.Store(fmt.Sprintf("%s to %s over %s went by %s", from.Name, a, proto, egress), true)
					}
				})
			}
		}
	}
	g.t.Cleanup(func() { f.end() })
	return f
}

func (f *flood) repeat(do func()) {
	f.done.Go(func() {
		for {
			select {
			case <-f.stopped:
				return
			case <-time.After(5 * time.Millisecond * netlab.Slack()):
				do()
			}
		}
	})
}

func (f *flood) end() {
	select {
	case <-f.stopped:
	default:
		close(f.stopped)
	}
	f.done.Wait()
}

// stop ends the flood, wants that nothing took a wrong egress, and returns how many
// flows there were.
func (f *flood) stop(g *gate) int64 {
	g.t.Helper()
	// On a busy machine it takes longer until there were enough to prove something.
	_ = netlab.Poll(30*time.Second, func() error { return netlab.Check(f.sent.Load() >= 50, "not yet") })
	f.end()
	f.wrong.Range(func(what, _ any) bool {
		g.t.Errorf("%s", what)
		return true
	})
	n := f.sent.Load()
	if n < 50 {
		g.t.Errorf("only %d flows were tried: that proves nothing", n)
	}
	return n
}

// asking queries fresh names below a domain without an end.
type asking struct {
	flood
	answered atomic.Int64
	failures sync.Map
}

// ask queries names below domain, a new one each time, over UDP and TCP.
func (g *gate) ask(domain string) *asking {
	a := &asking{flood: flood{stopped: make(chan struct{})}}
	for _, proto := range []string{"udp", "tcp", "udp6", "tcp6"} {
		a.repeat(func() {
			name := fmt.Sprintf("ask%d.%s", a.sent.Add(1), domain)
			reply, err := g.Client.Query(newQuery(name), proto)
			for again := 0; again < 5 && (errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET)); again++ {
				// A server that ends a connection may have left a query in it unread, and
				// a client asks again (RFC 7766 section 6.2.4).
				reply, err = g.Client.Query(newQuery(name), proto)
			}
			switch {
			case err != nil:
				a.failures.Store(fmt.Sprintf("%s over %s: %v", name, proto, err), true)
			case reply.Rcode == 0:
				a.answered.Add(1)
			default:
				a.failures.Store(fmt.Sprintf("%s over %s: rcode %d", name, proto, reply.Rcode), true)
			}
		})
	}
	g.t.Cleanup(a.end)
	return a
}

// wantAllAnswered ends the asking; every query must have been answered.
func (a *asking) wantAllAnswered(g *gate) {
	g.t.Helper()
	_ = netlab.Poll(30*time.Second, func() error { return netlab.Check(a.answered.Load() >= 10, "not yet") })
	a.end()
	shown := 0
	a.failures.Range(func(what, _ any) bool {
		if shown++; shown <= 5 {
			g.t.Errorf("not answered: %s", what)
		}
		return true
	})
	if n := a.answered.Load(); n < 10 {
		g.t.Errorf("only %d queries were answered: that proves nothing", n)
	}
}
