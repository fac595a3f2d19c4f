package netlab

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab/wire"
)

// TestManyAtOnce connects to 400 hosts of both families at once, and counts each.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	l := New(t, Options{GoResolvers: true})
	start := time.Now()
	var wg sync.WaitGroup
	for i := range 400 {
		p := l.World.Addresses(fmt.Sprintf("n%d.example", i))
		for _, to := range p.All() {
			wg.Go(func() {
				if egress, err := l.Client.ConnectWithin(to, 20*time.Second); err != nil || egress != ViaWAN {
					t.Errorf("%s: by %q (%v)", to, egress, err)
				}
			})
		}
	}
	wg.Wait()
	t.Logf("800 connections in %v", time.Since(start))
	syn := func(p wire.Packet) bool { return p.SYN() }
	seen := map[string]bool{}
	for _, p := range l.ISP.Clear(syn) {
		seen[p.Dst.String()] = true
	}
	if len(seen) != 800 {
		t.Errorf("the tap saw SYNs to %d hosts, want 800", len(seen))
	}
}
