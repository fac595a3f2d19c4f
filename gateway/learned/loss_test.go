package learned

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/nftset"
)

// restored is the promise: a loss is undone within this time. Tests wait for longer, because
// other things run beside them; BenchmarkPutBack measures it.
var restored = slack * 100 * time.Millisecond

// losses collects what OnLoss is told.
type losses struct {
	mu  sync.Mutex
	all []Loss
}

func (l *losses) add(x Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, x)
}

func (l *losses) seen() []Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// TestLoss: whatever others do to an ordinary table, it is back in time, with its
// learned addresses and the time that was left to them.
func TestLoss(t *testing.T) {
	for _, c := range []struct{ name, by string }{
		{"ruleset flushed", "nft flush ruleset"},
		{"table deleted", "nft delete table inet nameroute"},
		{"table deleted and made again, in one transaction", `nft list table inet nameroute > /tmp/saved.nft; (echo delete table inet nameroute; sed 's/elements = { [28][.:6].*/elements = { 1.1.1.1 timeout 1h }/; /counter packets/d' /tmp/saved.nft | sed '/set vpn6 {/,/}/ { /elements/d }') | nft -f -; rm /tmp/saved.nft`},
		{"set deleted with the rules", "nft 'flush chain inet nameroute local; flush chain inet nameroute classify; flush chain inet nameroute kill_switch; delete set inet nameroute vpn4; delete set inet nameroute vpn6'"},
		{"sets emptied and made again", "nft 'flush chain inet nameroute local; flush chain inet nameroute classify; flush chain inet nameroute kill_switch; delete set inet nameroute vpn4; add set inet nameroute vpn4 { type ipv4_addr; flags timeout; size 65536; }; delete set inet nameroute vpn6; add set inet nameroute vpn6 { type ipv6_addr; flags timeout; size 65536; }'"},
		{"rule deleted", `nft delete rule inet nameroute classify handle $(nft -a list chain inet nameroute classify | sed -n 's/.*handle //p' | tail -1)`},
		{"chain flushed", "nft flush chain inet nameroute kill_switch"},
		{"policy changed", "nft 'add chain inet nameroute input { policy drop; }'"},
		{"table put to sleep", "nft 'add table inet nameroute { flags dormant; }'"},
		{"kept addresses deleted", "nft flush chain inet nameroute input; nft flush set inet nameroute exclude4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told losses
			k := open(t, Options{Force: nft.ModePlain, OnLoss: told.add})
			apply(t, k, small())
			want := blocks(listTable(t))
			learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
			learn(t, k, vpn, time.Minute, "9.9.9.9")
			sh(t, "%s", c.by)
			lost := time.Now()
			eventually(t, restored, func() bool { return len(told.seen()) > 0 })
			// The call that answers wait for: never true while the kernel has it not.
			learn(t, k, vpn, 30*time.Second, "8.8.8.8", "2606:4700::1", "9.9.9.9")
			t.Logf("restored after %v", time.Since(lost))
			for _, l := range told.seen() {
				if l.Err != nil || l.Changes == 0 || len(l.What) == 0 {
					t.Errorf("told %+v", l)
				}
			}
			for a, want := range map[string]time.Duration{"8.8.8.8": time.Hour, "9.9.9.9": time.Minute, "2606:4700::1": time.Hour} {
				set := *vpn.Of(addr(a))
				if got := inKernel(t, k, set, a); !about(got, want) {
					t.Errorf("%s lives %v, want %v", a, got, want)
				}
			}
			sh(t, "nft flush set inet nameroute vpn4; nft flush set inet nameroute vpn6")
			becomes(t, want)
			if n := apply(t, k, small()); n != 0 {
				t.Errorf("%d changes", n)
			}
		})
	}
}

// TestLossWhileRestoring: what is deleted while a loss is put back is put back
// after it. A large prefix set makes that long enough to be met.
func TestLossWhileRestoring(t *testing.T) {
	k := open(t, Options{Force: nft.ModePlain})
	s := small()
	for i := range 8000 {
		s.Prefixes = map[string][]netip.Prefix{"vpn": append(s.Prefixes["vpn"], netip.PrefixFrom(netip.AddrFrom4([4]byte{91, byte(i >> 7), byte(i << 1), 0}), 24))}
	}
	apply(t, k, s)
	want := blocks(listTable(t))
	for range 5 {
		sh(t, "nft flush set inet nameroute vpn4p")
		for range 3 {
			time.Sleep(3 * time.Millisecond)
			sh(t, "nft flush set inet nameroute exclude4")
		}
		becomes(t, want)
		if t.Failed() {
			return
		}
	}
}

// becomes waits until the table lists as it did. What is told first may be the first
// half of what others did: where they took two commands, the second is a loss of its own.
func becomes(t *testing.T, want []string) {
	t.Helper()
	netlab.Eventually(t, restored, func() error {
		diff := cmp.Diff(want, blocks(listTable(t)))
		return netlab.Check(diff == "", "-before +after:\n%s", diff)
	})
}

// TestElementsByOthers: what others do to elements is believed.
func TestElementsByOthers(t *testing.T) {
	k := open(t, Options{Force: nft.ModePlain})
	apply(t, k, small())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "8.8.4.4", "2606:4700::1")
	gone := func(set nft.SetRef, a string) func() bool {
		return func() bool { _, ok := k.Remaining(set, addr(a)); return !ok }
	}
	sh(t, "nft delete element inet nameroute vpn4 '{ 8.8.8.8 }'")
	eventually(t, restored, gone(vpn.Set4, "8.8.8.8"))
	if _, ok := k.Remaining(vpn.Set4, addr("8.8.4.4")); !ok {
		t.Error("the wrong one is forgotten")
	}
	learn(t, k, vpn, time.Hour, "8.8.8.8")
	if got := inKernel(t, k, vpn.Set4, "8.8.8.8"); !about(got, time.Hour) {
		t.Errorf("learned again: lives %v", got)
	}
	sh(t, "nft flush set inet nameroute vpn6")
	eventually(t, restored, gone(vpn.Set6, "2606:4700::1"))
	sh(t, "nft add element inet nameroute vpn4 '{ 7.7.7.7 timeout 10m }'")
	eventually(t, restored, func() bool { left, _ := k.Remaining(vpn.Set4, addr("7.7.7.7")); return about(left, 10*time.Minute) })
	learn(t, k, vpn, time.Hour, "7.7.7.7")
	if got := inKernel(t, k, vpn.Set4, "7.7.7.7"); !about(got, time.Hour) {
		t.Errorf("another program's element is prolonged to %v", got)
	}
}

// TestLossOfPermanent: a permanent element of another program is not put back, and what
// is learned afterwards does not rely on it.
func TestLossOfPermanent(t *testing.T) {
	for name, by := range map[string]string{
		"table deleted": "delete table inet nameroute",
		"set emptied":   "flush chain inet nameroute local; flush chain inet nameroute classify; flush chain inet nameroute kill_switch; delete set inet nameroute vpn4; add set inet nameroute vpn4 { type ipv4_addr; flags timeout; size 65536; }",
	} {
		t.Run(name, func(t *testing.T) {
			var told losses
			k := open(t, Options{Force: nft.ModePlain, OnLoss: told.add})
			apply(t, k, small())
			learn(t, k, vpn, time.Hour, "8.8.8.8")
			sh(t, "nft add element inet nameroute vpn4 '{ 7.7.7.7 }'")
			eventually(t, restored, func() bool { return len(k.Missing(&vpn, addrs("7.7.7.7"), time.Hour)) == 0 })
			sh(t, "nft '%s'", by)
			eventually(t, restored, func() bool { return len(told.seen()) > 0 && known(k, &vpn, addrs("8.8.8.8"), 0) })
			learn(t, k, vpn, time.Hour, "7.7.7.7")
			if got := inKernel(t, k, vpn.Set4, "7.7.7.7"); !about(got, time.Hour) {
				t.Errorf("learned, and lives %v", got)
			}
		})
	}
}

// TestLossWhileLearning: everything that Learn has acknowledged is in the kernel in
// the end, however often other programs delete it in between.
func TestLossWhileLearning(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		if m == nft.ModeOwned {
			return // others cannot touch it
		}
		k := open(t, Options{Force: m, NoUpdate: m == nft.ModeReplica, Timeout: time.Minute})
		apply(t, k, small())
		var stop atomic.Bool
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := 0; !stop.Load(); i++ {
					as := []netip.Addr{netip.AddrFrom4([4]byte{8, byte(g), byte(i >> 8 & 1), byte(i)}), netip.AddrFrom16([16]byte{0x26, 6, byte(g), byte(i)})}
					if err := learnInto(k, t.Context(), vpn, as, time.Minute, time.Hour); err != nil {
						t.Errorf("while others change things: %v", err)
						return
					}
				}
			})
		}
		for range 5 {
			for _, by := range []string{"flush ruleset", "delete table inet nameroute", "flush set inet nameroute vpn4", "flush chain inet nameroute classify"} {
				// The table may not be back yet; what counts is what remains.
				_, _ = try("nft %s", by)
				time.Sleep(3 * time.Millisecond)
			}
		}
		stop.Store(true)
		wg.Wait()
		eventually(t, restored, func() bool { n, err := k.Apply(t.Context(), firewall.Desired(small())); return err == nil && n == 0 })
		for _, set := range []nft.SetRef{vpn.Set4, vpn.Set6} {
			elems, err := nft.ReadElements(set)
			if err != nil {
				t.Fatal(err)
			}
			have := map[netip.Addr]bool{}
			for _, e := range elems {
				have[e.Addr] = true
			}
			known := 0
			(*k.sets.Load())[set].records.Range(func(a netip.Addr, _ record) bool {
				if known++; !have[a] {
					t.Errorf("%s is believed to be in %s", a, set.Name)
				}
				return true
			})
			if known == 0 {
				t.Errorf("nothing is known of %s", set.Name)
			}
		}
	})
}

// TestLossOfMany: with 40,000 learned addresses the rules and the hot ones are back
// in time, and all the others soon after.
func TestLossOfMany(t *testing.T) {
	var told losses
	k := open(t, Options{Force: nft.ModePlain, OnLoss: told.add})
	s := small()
	for i := range 2000 {
		s.Prefixes = map[string][]netip.Prefix{"vpn": append(s.Prefixes["vpn"], netip.PrefixFrom(netip.AddrFrom4([4]byte{91, byte(i >> 6), byte(i << 2), 0}), 23))}
	}
	apply(t, k, s)
	const n = 40000
	for from := 0; from < n; from += 1000 {
		var as []netip.Addr
		for i := from; i < from+1000; i++ {
			as = append(as, netip.AddrFrom4([4]byte{8, byte(i >> 16), byte(i >> 8), byte(i)}))
		}
		if err := learnInto(k, t.Context(), vpn, as, time.Hour, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	learn(t, k, vpn, 2*time.Hour, "9.9.9.9")
	sh(t, "nft flush ruleset")
	lost := time.Now()
	var rules, hot, all time.Duration
	for all == 0 && time.Since(lost) < time.Minute*netlab.Slack() {
		if found, err := nft.ReadCounters("nameroute"); err == nil && len(found) > 0 && rules == 0 {
			rules = time.Since(lost)
		}
		if hot == 0 && has(t, vpn.Set4, "9.9.9.9") {
			hot = time.Since(lost)
		}
		if seen := told.seen(); len(seen) > 0 {
			all = time.Since(lost)
			t.Logf("rules %v, hot %v, all %v; took %v", rules, hot, all, seen[0].Took)
		}
	}
	if rules == 0 || hot == 0 || all == 0 {
		t.Error("not all of it is back")
	}
	awaitElements(t, k, vpn.Set4, n+1)
	if n := apply(t, k, s); n != 0 {
		t.Errorf("%d changes", n)
	}
}

// awaitElements waits until the kernel shows that many elements: a dump right after a
// bulk load misses some.
func awaitElements(t *testing.T, k *Store, set nft.SetRef, want int) {
	t.Helper()
	if err := netlab.Poll(time.Minute, func() error {
		elems, err := nft.ReadElements(set)
		return netlab.Check(err == nil && len(elems) == want, "%d elements in set %s, %v; want %d", len(elems), set, err, want)
	}); err != nil {
		t.Error(err)
	}
}

// has asks the kernel for one element.
func has(t testing.TB, set nft.SetRef, a string) bool {
	t.Helper()
	in, err := nftset.Has(set.Table, set.Name, addr(a))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestMissedEvents: when the watch could not keep up, everything is verified.
func TestMissedEvents(t *testing.T) {
	var told losses
	k := open(t, Options{Force: nft.ModePlain, OnLoss: told.add})
	apply(t, k, small())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
	if err := k.do(t.Context(), func() error { k.stopWatch(); return nil }); err != nil {
		t.Fatal(err)
	}
	sh(t, `nft 'flush chain inet nameroute kill_switch; flush chain inet nameroute local; flush chain inet nameroute classify; delete set inet nameroute vpn4; delete element inet nameroute vpn6 { 2606:4700::1 }'`)
	k.notices <- nft.Notice{Missed: true}
	eventually(t, time.Second*slack, func() bool { return len(told.seen()) > 0 })
	if what := told.seen()[0].What; !slices.Equal(what, []string{"events were lost"}) {
		t.Errorf("told %v", what)
	}
	learn(t, k, vpn, time.Minute, "8.8.8.8", "2606:4700::1")
	for _, a := range []string{"8.8.8.8", "2606:4700::1"} {
		if got := inKernel(t, k, *vpn.Of(addr(a)), a); !about(got, time.Hour) {
			t.Errorf("%s lives %v", a, got)
		}
	}
	// The table is watched again.
	seen := len(told.seen())
	sh(t, "nft flush chain inet nameroute input")
	eventually(t, restored, func() bool { return len(told.seen()) > seen })
}

// TestNoWatchForOwned: the watch costs an event for each element, and an owned table
// needs none.
func TestNoWatchForOwned(t *testing.T) {
	k := open(t, Options{})
	apply(t, k, small())
	learn(t, k, vpn, time.Hour, "8.8.8.8")
	if k.Features().Mode == nft.ModeOwned && k.watch != nil {
		t.Error("an owned table is watched")
	}
}

// TestExpiredAreForgotten: expiry makes no event, so the expiry table is swept.
func TestExpiredAreForgotten(t *testing.T) {
	k := open(t, Options{SweepInterval: 5 * time.Millisecond})
	apply(t, k, small())
	for i := range 50 {
		learn(t, k, vpn, 20*time.Millisecond, fmt.Sprintf("8.8.8.%d", i))
	}
	learn(t, k, vpn, time.Hour, "9.9.9.9")
	eventually(t, time.Second*slack, func() bool { return (*k.sets.Load())[vpn.Set4].records.Size() == 1 })
}
