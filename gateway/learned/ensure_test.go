package learned

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab"
	"golang.org/x/sys/unix"
)

// paths runs a test with both ways to prolong an element.
func paths(t *testing.T, test func(t *testing.T, o Options)) {
	for name, o := range map[string]Options{
		"in place": {}, "add, delete, add": {NoUpdate: true}, "plain table": {Force: nft.ModePlain}, "replica, add, delete, add": {Force: nft.ModeReplica, NoUpdate: true},
	} {
		t.Run(name, func(t *testing.T) { test(t, o) })
	}
}

// inKernel is how long the kernel still keeps an element.
func inKernel(t testing.TB, k *Store, ref nft.SetRef, a string) time.Duration {
	t.Helper()
	elems, err := nft.ReadElements(ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range elems {
		if e.Addr == addr(a) {
			return e.Left
		}
	}
	return 0
}

func about(got, want time.Duration) bool {
	return got <= want+10*time.Millisecond && got > want*2/3 // a busy machine looks late
}

func TestLearn(t *testing.T) {
	paths(t, func(t *testing.T, o Options) {
		k := open(t, o)
		apply(t, k, small())
		check := func(set nft.SetRef, a string, want time.Duration) {
			t.Helper()
			if got := inKernel(t, k, set, a); !about(got, want) {
				t.Errorf("%s lives %v in the kernel, want %v", a, got, want)
			}
			if got, ok := k.Remaining(set, addr(a)); !ok || !about(got, want) {
				t.Errorf("%s lives %v in the expiry table, want %v", a, got, want)
			}
		}
		learn(t, k, vpn, time.Minute, "8.8.8.8", "2606:4700::1", "8.8.8.8", "::ffff:9.9.9.9")
		check(vpn.Set4, "8.8.8.8", time.Minute)
		check(vpn.Set6, "2606:4700::1", time.Minute)
		check(vpn.Set4, "9.9.9.9", time.Minute)

		// Long enough: nothing is sent. Too short: prolonged. Never shortened.
		if err := learnInto(k, t.Context(), vpn, addrs("8.8.8.8"), 30*time.Second, time.Hour); err != nil {
			t.Fatal(err)
		}
		check(vpn.Set4, "8.8.8.8", time.Minute)
		if err := learnInto(k, t.Context(), vpn, addrs("8.8.8.8", "2606:4700::1"), 2*time.Minute, time.Hour); err != nil {
			t.Fatal(err)
		}
		check(vpn.Set4, "8.8.8.8", time.Hour)
		check(vpn.Set6, "2606:4700::1", time.Hour)
		learn(t, k, vpn, time.Minute, "8.8.8.8", "8.8.4.4")
		check(vpn.Set4, "8.8.8.8", time.Hour)
		check(vpn.Set4, "8.8.4.4", time.Minute)

		// An element that ended is learned again.
		learn(t, k, vpn, 30*time.Millisecond, "1.1.1.1")
		time.Sleep(40 * time.Millisecond)
		if _, ok := k.Remaining(vpn.Set4, addr("1.1.1.1")); ok {
			t.Error("an ended element is still known")
		}
		learn(t, k, vpn, time.Minute, "1.1.1.1")
		check(vpn.Set4, "1.1.1.1", time.Minute)
	})
}

// TestLearnEdge prolongs elements in the very moment in which they end.
func TestLearnEdge(t *testing.T) {
	paths(t, func(t *testing.T, o Options) {
		k := open(t, o)
		apply(t, k, small())
		// The kernel keeps what has expired for a second, and few copies of one element.
		for round := range 60 {
			v4, v6 := fmt.Sprintf("8.8.8.%d", round/5), fmt.Sprintf("2606:4700::%d", round/5)
			life := time.Duration(rand.IntN(8000)) * time.Microsecond
			learn(t, k, vpn, life+1, v4, v6)
			time.Sleep(life + time.Duration(rand.IntN(2000))*time.Microsecond)
			if round%5 < 4 {
				continue
			}
			learn(t, k, vpn, time.Minute, v4, v6)
			if got := inKernel(t, k, vpn.Set4, v4); !about(got, time.Minute) {
				t.Errorf("%s lives %v", v4, got)
			}
		}
	})
}

func TestLearnErrors(t *testing.T) {
	k := open(t, Options{})
	err := learnInto(k, t.Context(), vpn, addrs("8.8.8.8"), time.Second, time.Second)
	if got, want := fmt.Sprint(err), "learn 8.8.8.8 in set inet nameroute vpn4: no such set"; got != want || !errors.Is(err, nft.ErrNoSet) {
		t.Errorf("no table: %s", got)
	}
	apply(t, k, small())
	if got, want := fmt.Sprint(learnInto(k, t.Context(), vpn, []netip.Addr{{}}, time.Second, time.Second)), "learn: invalid address"; got != want {
		t.Errorf("invalid address: %s", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	release := occupy(t, k)
	if err := learnInto(k, ctx, vpn, addrs("8.8.8.8"), time.Second, time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("owner is busy: %v", err)
	}
	release()
	learn(t, k, vpn, time.Minute, "8.8.8.8")
	if err := learnInto(k, t.Context(), vpn, nil, time.Second, time.Second); err != nil {
		t.Errorf("no addresses: %v", err)
	}
}

// occupy keeps the owner of the connection busy until it is released.
func occupy(t *testing.T, k *Store) (release func()) {
	t.Helper()
	busy, released := make(chan struct{}), make(chan struct{})
	go k.do(t.Context(), func() error { close(busy); <-released; return nil })
	<-busy
	return func() { close(released) }
}

func TestLearnConcurrently(t *testing.T) {
	paths(t, func(t *testing.T, o Options) {
		k := open(t, o)
		apply(t, k, small())
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				as := []netip.Addr{netip.AddrFrom4([4]byte{8, 1, byte(i >> 8), byte(i)}), netip.AddrFrom16([16]byte{0x26, 6, byte(i >> 8), byte(i)}), addr("8.8.8.8")}
				life := time.Minute + time.Duration(i)*time.Second
				if err := learnInto(k, t.Context(), vpn, as, life, life); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		t.Logf("1000 calls, 3 addresses each: %v", time.Since(began))
		for _, set := range []nft.SetRef{vpn.Set4, vpn.Set6} {
			elems, err := nft.ReadElements(set)
			if want := map[nft.SetRef]int{vpn.Set4: 1001, vpn.Set6: 1000}[set]; err != nil || len(elems) != want {
				t.Errorf("%s: %d elements, want %d, %v", set, len(elems), want, err)
			}
		}
		if got := inKernel(t, k, vpn.Set4, "8.8.8.8"); !about(got, 1059*time.Second) {
			t.Errorf("the longest did not win: %v", got)
		}
	})
}

// TestLearnLongest: of calls that share a transaction the longest life wins, whatever
// their order.
func TestLearnLongest(t *testing.T) {
	k := open(t, Options{})
	apply(t, k, small())
	for i, lives := range [][]time.Duration{{time.Hour, time.Minute}, {time.Minute, time.Hour}} {
		a := fmt.Sprintf("8.8.8.%d", i)
		release := occupy(t, k)
		var wg sync.WaitGroup
		for _, life := range lives {
			wg.Go(func() {
				if err := learnInto(k, t.Context(), vpn, addrs(a), life, life); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(10 * time.Millisecond)
		}
		release()
		wg.Wait()
		if got := inKernel(t, k, vpn.Set4, a); !about(got, time.Hour) {
			t.Errorf("%v: lives %v", lives, got)
		}
	}
}

// TestFull: a full set refuses new elements with a clear error and a pause, goes on
// prolonging old ones, and harms neither neighbours nor other sets.
func TestFull(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m, NoUpdate: m == nft.ModeReplica})
		s := small()
		s.Config.SetSize = 10
		apply(t, k, s)
		for i := range 10 {
			learn(t, k, vpn, 2*time.Second, fmt.Sprintf("8.8.8.%d", i))
		}
		err := learnInto(k, t.Context(), vpn, addrs("9.9.9.9"), time.Second, time.Second)
		if got, want := fmt.Sprint(err), "learn 9.9.9.9 in set inet nameroute vpn4: set is full"; got != want || !errors.Is(err, ErrSetFull) {
			t.Errorf("full: %s", got)
		}
		pause := func() (until int64) {
			if err := k.do(t.Context(), func() error { until = (*k.sets.Load())[vpn.Set4].paused; return nil }); err != nil {
				t.Fatal(err)
			}
			return until
		}
		eventually(t, time.Minute, func() bool { // a machine that is late enough finds the pause over
			until := pause()
			for range 10 {
				if err := learnInto(k, t.Context(), vpn, addrs("9.9.9.9"), time.Second, time.Second); !errors.Is(err, ErrSetFull) {
					t.Fatalf("full: %v", err)
				}
			}
			return until == pause() // the kernel was not asked again
		})
		learn(t, k, vpn, time.Minute, "8.8.8.0")
		learn(t, k, vpn, time.Minute, "2606:4700::1")
		if got := inKernel(t, k, vpn.Set4, "8.8.8.0"); !about(got, time.Minute) {
			t.Errorf("prolonged in a full set: lives %v", got)
		}

		// Neighbours of the bad request in one transaction.
		time.Sleep(fullPause)
		var wg sync.WaitGroup
		release := occupy(t, k)
		results := make([]error, 3)
		for i, a := range []string{"9.9.9.9", "8.8.8.0", "2606:4700::2"} {
			wg.Go(func() { results[i] = learnInto(k, t.Context(), vpn, addrs(a), time.Hour, time.Hour) })
		}
		time.Sleep(20 * time.Millisecond)
		release()
		wg.Wait()
		if results[1] != nil || results[2] != nil {
			t.Errorf("neighbours failed: %v", results)
		}
		// The others have ended by now; when the kernel has collected them, there is room.
		eventually(t, time.Minute, func() bool {
			return learnInto(k, t.Context(), vpn, addrs("9.9.9.9"), time.Second, time.Second) == nil
		})
	})
}

// TestForeignSets: learning into another program's table.
func TestForeignSets(t *testing.T) {
	k := open(t, Options{})
	const theirs = `nft -f - <<END
table ip fw { set a { type ipv4_addr; flags timeout; }
  set never { type ipv4_addr; }
  set ranges { type ipv4_addr; flags interval, timeout; }
}
table inet fw { set b { type ipv6_addr; flags timeout; timeout 1h; size 100; }
  chain forward { type filter hook forward priority filter; ip6 daddr @b counter; }
}
END`
	sh(t, theirs)
	pair := nft.SetPair{Set4: nft.SetRef{Family: "ip", Table: "fw", Name: "a"}, Set6: nft.SetRef{Family: "inet", Table: "fw", Name: "b"}}
	for _, c := range []struct {
		pair nft.SetPair
		want string
	}{
		{pair, "<nil>"},
		{nft.SetPair{Set4: pair.Set4}, "no set for IPv6 addresses: a route needs one for each family"},
		{nft.SetPair{Set4: nft.SetRef{Family: "ip", Table: "fw", Name: "never"}, Set6: pair.Set6}, "set ip fw never: it has no `flags timeout`, without which elements cannot end"},
		{nft.SetPair{Set4: nft.SetRef{Family: "ip", Table: "fw", Name: "ranges"}, Set6: pair.Set6}, "set ip fw ranges: it has `flags interval`: single addresses need a set without"},
		{nft.SetPair{Set4: pair.Set6, Set6: nft.SetRef{Family: "inet", Table: "fw", Name: "c"}}, "set inet fw b: its type is not ipv4_addr\nset inet fw c: no such set"},
		{nft.SetPair{Set4: nft.SetRef{Family: "ipv4", Table: "fw", Name: "a"}, Set6: nft.SetRef{Family: "inet", Table: "none", Name: "c"}}, "set ipv4 fw a: unknown table family \"ipv4\": want inet, ip, ip6, bridge or netdev\nset inet none c: no such set"},
	} {
		if got := fmt.Sprint(nft.CheckSets(c.pair)); got != c.want {
			t.Errorf("%v:\n%s\nwant\n%s", c.pair, got, c.want)
		}
		if got := fmt.Sprint(k.CheckSets(t.Context(), c.pair)); got != c.want {
			t.Errorf("%v:\n%s\nwant\n%s", c.pair, got, c.want)
		}
	}
	sh(t, "nft add element ip fw a '{ 1.1.1.1 }'")
	learn(t, k, pair, time.Minute, "8.8.8.8", "2606:4700::1") // from here on the set is watched
	eventually(t, restored, func() bool { _, known := k.Remaining(pair.Set4, addr("1.1.1.1")); return known })
	learn(t, k, pair, time.Minute, "1.1.1.1")
	for set, a := range map[nft.SetRef]string{pair.Set4: "8.8.8.8", pair.Set6: "2606:4700::1"} {
		if got := inKernel(t, k, set, a); !about(got, time.Minute) {
			t.Errorf("%s lives %v", a, got)
		}
	}
	if out := sh(t, "nft list set ip fw a"); !strings.Contains(out, "1.1.1.1") || strings.Contains(out, "1.1.1.1 timeout") {
		t.Errorf("another program's permanent element was changed:\n%s", out)
	}

	// Their firewall is reloaded: what was learned is back.
	sh(t, "%s", strings.Replace(theirs, "table ip fw", "flush ruleset\ntable ip fw", 1))
	eventually(t, restored, func() bool {
		return inKernel(t, k, pair.Set4, "8.8.8.8") > 0 && inKernel(t, k, pair.Set6, "2606:4700::1") > 0
	})
	sh(t, "nft delete table inet fw")
	eventually(t, restored, func() bool { _, ok := k.Remaining(pair.Set6, addr("2606:4700::1")); return !ok })
	err := learnInto(k, t.Context(), pair, addrs("2606:4700::1"), time.Second, time.Second)
	if !errors.Is(err, nft.ErrNoSet) {
		t.Errorf("table gone: %v", err)
	}
	learn(t, k, pair, time.Minute, "9.9.9.9")
}

// TestOwnedElsewhere: sets in a table that another process owns.
func TestOwnedElsewhere(t *testing.T) {
	k := open(t, Options{})
	if !k.Features().Owner {
		t.Skip("this kernel has no owned tables")
	}
	owner := openMore(t, Options{Table: "fw", Force: nft.ModeOwned})
	theirs := &nft.Table{Name: "fw"}
	for _, set := range firewall.Desired(small()).Sets {
		if set.Timeout {
			theirs.Sets = append(theirs.Sets, set)
		}
	}
	if _, err := owner.Apply(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	pair := nft.SetPair{Set4: nft.SetRef{Family: "inet", Table: "fw", Name: "vpn4"}, Set6: nft.SetRef{Family: "inet", Table: "fw", Name: "vpn6"}}
	want := "set inet fw vpn4: the table is owned by another process (netlink port N), which alone may change it\n" +
		"set inet fw vpn6: the table is owned by another process (netlink port N), which alone may change it"
	if got := regexp.MustCompile(`port \d+`).ReplaceAllString(fmt.Sprint(k.CheckSets(t.Context(), pair)), "port N"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	err := learnInto(k, t.Context(), pair, addrs("8.8.8.8"), time.Second, time.Second)
	if got, want := fmt.Sprint(err), "learn: add elements to set vpn4: operation not permitted"; got != want || !errors.Is(err, unix.EPERM) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

// TestSocketBreaks: the socket is replaced, an owned table adopted again, and the
// callers notice nothing.
func TestSocketBreaks(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		apply(t, k, small())
		learn(t, k, vpn, time.Minute, "8.8.8.8")
		for range 3 {
			if err := k.do(t.Context(), func() error { return k.nft.Close() }); err != nil {
				t.Fatal(err)
			}
			learn(t, k, vpn, time.Minute, fmt.Sprintf("9.9.9.%d", rand.IntN(256)), "2606:4700::1")
			if n := apply(t, k, small()); n != 0 {
				t.Errorf("%d changes", n)
			}
			if got := inKernel(t, k, vpn.Set4, "8.8.8.8"); !about(got, time.Minute) {
				t.Errorf("8.8.8.8 lives %v", got)
			}
		}
	})
}

func eventually(t testing.TB, within time.Duration, ok func() bool) {
	t.Helper()
	netlab.Eventually(t, within, func() error { return netlab.Check(ok(), "not yet") })
}
