package learned

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

// replicaList is the replica's listing as if it were the ordinary table's.
func replicaList(t *testing.T) string {
	t.Helper()
	out := sh(t, "nft list table inet nameroute_replica | sed '/flags owner/d; s/nameroute_replica.*{.*/nameroute {/'")
	return strings.Replace(out, "{\n\n", "{\n", 1)
}

func TestReplica(t *testing.T) {
	var told losses
	k := open(t, Options{Force: nft.ModeReplica, OnLoss: told.add})
	if !k.Features().Owner {
		t.Skip("this kernel has no owned tables")
	}
	applyTwice(t, k, full())
	want := firewall.Desired(full()).String()
	for name, got := range map[string]string{"ordinary": listTable(t), "owned": replicaList(t)} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s table, -want +got:\n%s", name, diff)
		}
	}
	applyTwice(t, k, small())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
	both := func() {
		t.Helper()
		for _, table := range []string{"nameroute", "nameroute_replica"} {
			for set, a := range map[string]string{"vpn4": "8.8.8.8", "vpn6": "2606:4700::1"} {
				if got := inKernel(t, k, nft.SetRef{Family: "inet", Table: table, Name: set}, a); !about(got, time.Hour) {
					t.Errorf("%s lives %v in table %s", a, got, table)
				}
			}
		}
	}
	both()
	if out, err := try("nft delete table inet nameroute_replica"); err == nil {
		t.Errorf("the replica can be deleted: %s", out)
	}
	for i, by := range []string{"nft flush ruleset", "nft delete table inet nameroute", "nft flush chain inet nameroute classify"} {
		sh(t, "%s", by)
		t.Logf("%s: restored after %v", by, awaitRestored(t, "8.8.8.8", "2606:4700::1"))
		eventually(t, 10*restored, func() bool { return len(told.seen()) > i })
		learn(t, k, vpn, time.Minute, "8.8.8.8", "2606:4700::1")
		both()
		if n := apply(t, k, small()); n != 0 {
			t.Errorf("after %s: %d changes", by, n)
		}
	}

	other := openMore(t, Options{Force: nft.ModePlain})
	if _, err := other.Apply(t.Context(), firewall.Desired(small())); !errors.Is(err, nft.ErrOwned) {
		t.Errorf("a second process: %v", err)
	}
	if err := other.Remove(t.Context()); !errors.Is(err, nft.ErrOwned) {
		t.Errorf("a second process removes: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if out := sh(t, "nft list tables"); out != "table inet nameroute\n" {
		t.Errorf("after the end there is: %s", out)
	}
	heir := openMore(t, Options{Force: nft.ModeReplica})
	applyTwice(t, heir, small())
	k = heir
	both()
	if err := heir.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := sh(t, "nft list tables"); out != "" {
		t.Errorf("left: %s", out)
	}
}

// TestStaleTwin: a ruleset that was stored with both copies and loaded again has a
// second table without an owner. It must not go on routing what we let go.
func TestStaleReplica(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		sh(t, "nft add table inet nameroute_replica; nft add set inet nameroute_replica vpn4 '{ type ipv4_addr; flags timeout; }'")
		applyTwice(t, k, small())
		out, err := try("nft list set inet nameroute_replica vpn4; nft add table inet nameroute_replica")
		if err == nil {
			t.Errorf("the stale replica is still there:\n%s", out)
		}
		if exists, err := nft.TableExists(gateway.TableName); !exists || err != nil {
			t.Errorf("exists %v, %v", exists, err)
		}
	})
}

// TestTwinsOfMany: a flush takes only one of many elements' two places, and a broken
// socket only the other.
func TestReplicaOfMany(t *testing.T) {
	var told losses
	k := open(t, Options{Force: nft.ModeReplica, OnLoss: told.add})
	apply(t, k, small())
	const n = 9000
	learnMany(t, k, 8, n)
	for i, lose := range []func(){
		func() { sh(t, "nft flush ruleset") },
		func() {
			if err := k.do(t.Context(), func() error { return k.nft.Close() }); err != nil {
				t.Fatal(err)
			}
			learn(t, k, vpn, 2*time.Hour, "8.0.0.1")
		},
	} {
		lose()
		eventually(t, time.Second*slack, func() bool { return len(told.seen()) > i })
		for _, table := range []string{"nameroute", "nameroute_replica"} {
			awaitElements(t, k, nft.SetRef{Family: "inet", Table: table, Name: "vpn4"}, n)
		}
	}
}

// TestStoppedTwice: what the kill switch of two tables dropped is counted once.
func TestStoppedTwice(t *testing.T) {
	k := open(t, Options{Force: nft.ModeReplica})
	apply(t, k, small())
	sh(t, `ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up; ip addr add 198.18.0.1/24 dev d0; ip route add default via 198.18.0.2; ip neigh add 198.18.0.2 lladdr 02:00:00:00:00:01 dev d0`)
	t.Cleanup(func() { sh(t, "ip link del d0") })
	learn(t, k, vpn, time.Hour, "8.8.8.8")
	_, _ = try("ping -c 3 -i 0.01 -W 0.2 8.8.8.8")
	got, err := stoppedBy()
	if want := (map[string]nft.Counter{"vpn": {Packets: 3, Bytes: 3 * 84}}); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("stopped %v, %v", got, err)
	}
}

// TestPacketsTwins: everything that a packet can meet, it can meet twice.
func TestPacketsReplica(t *testing.T) {
	lab(t)
	k := open(t, Options{Force: nft.ModeReplica})
	s := labSpec()
	s.Config = config(route("vpn", 1), route("office", 3))
	s.Egress["office"] = firewall.Egress{Links: []string{"br-lan"}, Masquerade: true}
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
			probed := open(t, Options{}).Features()
			if !probed.Owner || (m == nft.ModeOwned && !probed.Persist) {
				t.Skipf("this kernel cannot: %+v", probed)
			}
			for _, ns := range []string{"isp", "vpn"} {
				sh(t, `ip netns exec %s nft 'add table inet count; add chain inet count in { type filter hook input priority 0; }; add rule inet count in ip daddr 8.8.8.8 counter; add rule inet count in ip6 daddr 2606:4700::1 counter'`, ns)
			}
			p := child(t, "hold", string(m))
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
				p.kill()
				time.Sleep(20 * time.Millisecond) // traffic, while there is no process to restore anything
				if p = child(t, "hold", string(m)); p.output != "ready 2" {
					t.Errorf("of 2 addresses adopted: %s", p.output)
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
			slices.Sort(back)
			// The worst is the machine's: one that runs other tests, too, has kept us from
			// the processor for half a second.
			if median := back[len(back)/2]; median > restored {
				t.Errorf("after a flush it took %v until all was there again, want at most %v: %v", median, restored, back)
			}
			t.Logf("%d packets, by the tunnel: %s; restored after %v", sent.Load(), packets("vpn"), back)
		})
	}
}

// wholeAgain waits until our ordinary table has these elements, and
// returns how long that took. One that is late by ten times fails the test at once.
func awaitRestored(t *testing.T, addrs ...string) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		all := true
		for _, a := range addrs {
			all = all && has(t, *vpn.Of(addr(a)), a)
		}
		took := time.Since(began)
		if all {
			return took.Round(10 * time.Microsecond)
		}
		if took > 10*restored {
			t.Fatalf("%v after the flush the elements are not back", took)
		}
		time.Sleep(200 * time.Microsecond)
	}
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

// learnMany learns n addresses below 8.0.0.0, or another first number.
func learnMany(t testing.TB, k *Store, first byte, n int) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		var as []string
		for i := from; i < min(from+1000, n); i++ {
			as = append(as, fmt.Sprintf("%d.%d.%d.%d", first, i>>16, i>>8&255, i&255))
		}
		learn(t, k, vpn, time.Hour, as...)
	}
}
