package firewall_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab/child"
	"github.com/nameroute/nameroute/test/netlab/nftset"
)

// TestPacketsReplica: everything that a packet can meet, it can meet twice.
func TestPacketsReplica(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{Force: nft.ModeReplica})
	s := labSpec()
	s.Config = config(route("vpn", 1), route("office", 3))
	s.Egress["office"] = firewall.Egress{Links: []string{"br-lan"}, Source: firewall.Source{Masquerade: true}}
	apply(t, k, s)
	for _, f := range families {
		learn(t, k, vpn, time.Hour, f.listed)
		learn(t, k, firewall.Pair(route("office", 3)), time.Hour, f.other)
		expect(t, "client", f.listed, "vpn "+f.tunnel)
		expect(t, "", f.listed, "vpn "+f.tunnel)
		if got := who(t, "client", "udp", f.other); !strings.HasPrefix(got, "vpnbox ") {
			t.Errorf("%s: answered by %q", f.name, got)
		}
		expect(t, "vpn", f.client, "client "+map[string]string{"IPv4": "10.2.0.1", "IPv6": "fd00:a::1"}[f.name])
	}
}

// TestLossUnderTraffic: others flush the ruleset and our process is killed, again and
// again, while new flows start all the time: not one packet leaves via the WAN. A replica
// promises that for losses one at a time: each waits until they are two again.
func TestLossUnderTraffic(t *testing.T) {
	for _, m := range []nft.Mode{nft.ModeOwned, nft.ModeReplica} {
		t.Run(string(m), func(t *testing.T) {
			lab(t)
			probed := open(t, learned.Options{}).Features()
			if !probed.Owner || (m == nft.ModeOwned && !probed.Persist) {
				t.Skipf("this kernel cannot: %+v", probed)
			}
			for _, ns := range []string{"isp", "vpn"} {
				sh(t, `ip netns exec %s nft 'add table inet count; add chain inet count in { type filter hook input priority 0; }; add rule inet count in ip daddr 8.8.8.8 counter; add rule inet count in ip6 daddr 2606:4700::1 counter'`, ns)
			}
			p := child.Start(t, "hold", string(m))
			long, err := connect(t, "client", "tcp", "", families[0].listed)
			if err != nil {
				t.Fatal(err)
			}
			var sent atomic.Int64
			stop := traffic(t, &sent)
			var back []time.Duration
			for range 4 {
				for range 3 {
					sh(t, "nft flush ruleset")
					back = append(back, awaitRestored(t, families[0].listed, families[1].listed))
				}
				p.Kill()
				time.Sleep(20 * time.Millisecond) // traffic, while there is no process to restore anything
				if p = child.Start(t, "hold", string(m)); p.Output != "ready 2" {
					t.Errorf("of 2 addresses adopted: %s", p.Output)
				}
				if got := long.ask(); got != "vpn 10.2.0.2" {
					t.Errorf("the long flow is answered by %q", got)
				}
			}
			stop()
			packets := func(ns string) string {
				return sh(t, `ip netns exec %s nft list chain inet count in | sed -n 's/.*packets \([0-9]*\).*/\1/p' | tr '\n' ' '`, ns)
			}
			if got := packets("isp"); got != "0 0 " {
				t.Errorf("%s of %d packets left by the WAN", got, sent.Load())
			}
			if got := packets("vpn"); strings.HasPrefix(got, "0 ") || strings.Contains(got, " 0 ") {
				t.Errorf("of %d packets %s left by the tunnel", sent.Load(), got)
			}
			t.Logf("%d packets, by the tunnel: %s; restored after %v", sent.Load(), packets("vpn"), back)
		})
	}
}

// awaitRestored waits until our ordinary table has these elements, and returns how long that took.
func awaitRestored(t *testing.T, addrs ...string) time.Duration {
	t.Helper()
	began := time.Now()
	eventually(t, restored, func() bool {
		for _, a := range addrs {
			if in, err := nftset.Has("nameroute", vpn.Of(addr(a)).Name, addr(a)); err != nil {
				t.Fatal(err)
			} else if !in {
				return false
			}
		}
		return true
	})
	return time.Since(began).Round(time.Millisecond)
}

// traffic sends some 200 packets a second from the client, each of a new flow.
func traffic(t *testing.T, sent *atomic.Int64) (stop func()) {
	end := make(chan struct{})
	var done sync.WaitGroup
	var sockets []net.PacketConn
	inNamespace(t, "client", func() {
		for range 2000 {
			c, err := net.ListenPacket("udp", ":0")
			if err != nil {
				t.Error(err)
				return
			}
			sockets = append(sockets, c)
		}
	})
	done.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			to := &net.UDPAddr{IP: addr(families[i%2].listed).AsSlice(), Port: 7}
			if _, err := sockets[i%len(sockets)].WriteTo([]byte("who?"), to); err != nil {
				t.Error(err)
				return
			}
			sent.Add(1)
		}
	})
	return func() {
		close(end)
		done.Wait()
		for _, c := range sockets {
			c.Close()
		}
	}
}

// childHolds applies the lab's table, learns the listed addresses where they are not
// adopted, says so, and lives until it is killed or its input ends.
func childHolds(t *testing.T, mode string) {
	k, err := learned.Open(learned.Options{Table: gateway.TableName, Force: nft.Mode(mode)})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, k, labSpec())
	adopted := 0
	for _, f := range families {
		if _, ok := k.Remaining(*vpn.Of(addr(f.listed)), addr(f.listed)); ok {
			adopted++
		}
	}
	learn(t, k, vpn, time.Hour, families[0].listed, families[1].listed)
	fmt.Println("ready", adopted)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// TestChild is not a test: it is the main function of the processes that others kill.
func TestChild(t *testing.T) {
	child.Main(t, map[string]func(t *testing.T, arg string){"hold": childHolds})
}
