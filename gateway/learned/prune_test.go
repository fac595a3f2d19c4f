package learned

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
	"golang.org/x/sys/unix"
)

// listed is a list of names.
func listed(names ...string) func(string) bool {
	return func(n string) bool { return slices.Contains(names, n) }
}

func learnFor(t testing.TB, k *Store, name string, life time.Duration, as ...string) {
	t.Helper()
	if err := k.Ensure(t.Context(), &vpn, name, addrs(as...), life, life); err != nil {
		t.Fatal(err)
	}
}

func TestPrune(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		apply(t, k, small())
		learnFor(t, k, "a.example.", time.Hour, "8.8.8.8", "8.8.4.4", "9.9.9.9", "2606:4700::1")
		learnFor(t, k, "b.example.", time.Hour, "8.8.4.4") // another name's answer
		learnFor(t, k, "c.example.", time.Hour, "9.9.9.9")
		if n, err := k.Prune(t.Context(), vpn, listed("b.example.", "c.example.")); n != 2 || err != nil {
			t.Errorf("%d pruned, %v", n, err)
		}
		for a, stays := range map[string]bool{"8.8.8.8": false, "8.8.4.4": true, "9.9.9.9": true, "2606:4700::1": false, "1.2.3.4": false} {
			refs := []nft.SetRef{*vpn.Of(addr(a))}
			if m == nft.ModeReplica {
				refs = append(refs, nft.SetRef{Family: "inet", Table: "nameroute_replica", Name: refs[0].Name})
			}
			for _, ref := range refs {
				if in := inKernel(t, k, ref, a) > 0; in != stays {
					t.Errorf("%s in %s: %v", a, ref, in)
				}
			}
			if known(k, &vpn, addrs(a), time.Minute) != stays {
				t.Errorf("%s is believed otherwise than it is", a)
			}
		}
		learnFor(t, k, "a.example.", time.Hour, "8.8.8.8")
		if got := inKernel(t, k, vpn.Set4, "8.8.8.8"); !about(got, time.Hour) {
			t.Errorf("learned again: lives %v", got)
		}
	})
}

// TestPruneOthers: a permanent element of another program is not ours to delete, nor is
// one that an earlier process left without its names.
func TestPruneOthers(t *testing.T) {
	k := open(t, Options{Force: nft.ModePlain})
	apply(t, k, small())
	sh(t, "nft add element inet nameroute vpn4 '{ 7.7.7.7, 6.6.6.6 timeout 1h }'")
	eventually(t, restored, func() bool { return len(k.Missing(&vpn, addrs("7.7.7.7", "6.6.6.6"), 0)) == 0 })
	learnFor(t, k, "a.example.", time.Minute, "7.7.7.7", "6.6.6.6")
	if n, err := k.Prune(context.Background(), vpn, listed()); n != 0 || err != nil {
		t.Errorf("%d pruned, %v", n, err)
	}
	sh(t, "nft get element inet nameroute vpn4 '{ 7.7.7.7 }'; nft get element inet nameroute vpn4 '{ 6.6.6.6 }'")
}

// TestPruneWhileLearning: what Ensure has promised for a listed name is in the kernel,
// however often the same addresses lose another name at that moment.
func TestPruneWhileLearning(t *testing.T) {
	k := open(t, Options{})
	apply(t, k, small())
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				a := fmt.Sprintf("8.8.%d.%d", g, i%5)
				learnFor(t, k, "unlisted.example.", time.Hour, a)
				learnFor(t, k, fmt.Sprintf("n%d.a.example.", i%40), time.Hour, a)
				if inKernel(t, k, vpn.Set4, a) == 0 {
					t.Errorf("%s was promised and is not there", a)
					return
				}
				// The next round begins without the listed name.
				set := (*k.sets.Load())[vpn.Set4]
				r, _ := set.records.Load(addr(a))
				set.records.Store(addr(a), record{end: r.end}.withName(nameRef{k.id("unlisted.example."), "unlisted.example.", r.end}, k.clock.now()))
			}
		})
	}
	taken := 0
	isListed := func(name string) bool { return name != "unlisted.example." }
	for ctx.Err() == nil {
		n, err := k.Prune(ctx, vpn, isListed)
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		taken += n
	}
	wg.Wait()
	if taken == 0 {
		t.Error("nothing was pruned")
	}
	t.Logf("%d pruned", taken)
}

// TestPruneFails: when the connection breaks, or the kernel refuses, what is to be pruned
// is deleted after all.
func TestPruneFails(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		apply(t, k, small())
		learnFor(t, k, "a.example.", time.Hour, "8.8.8.8", "2606:4700::1")
		learnFor(t, k, "b.example.", time.Hour, "8.8.4.4")
		if err := k.do(t.Context(), func() error { return k.nft.Close() }); err != nil {
			t.Fatal(err)
		}
		if n, err := k.Prune(t.Context(), vpn, listed("b.example.")); n != 2 || err != nil {
			t.Errorf("%d pruned, %v", n, err)
		}
		for a, stays := range map[string]bool{"8.8.8.8": false, "8.8.4.4": true, "2606:4700::1": false} {
			if in := inKernel(t, k, *vpn.Of(addr(a)), a) > 0; in != stays {
				t.Errorf("%s is there: %v", a, in)
			}
		}
		if n := apply(t, k, small()); n != 0 {
			t.Errorf("%d changes", n)
		}
	})
	t.Run("refused", func(t *testing.T) {
		s, f := openFake(t)
		learnFor(t, s, "a.example.", time.Hour, "8.8.8.8")
		f.err = &nft.Refusal{Errno: unix.ENOMEM, Set: vpn.Set4}
		err := s.do(t.Context(), func() error {
			_, err := s.prune(vpn.Set4, addrs("8.8.8.8"), listed())
			return err
		})
		if !errors.Is(err, unix.ENOMEM) {
			t.Error(err)
		}
		if got := s.Names(vpn.Set4, addr("8.8.8.8")); len(got) != 1 {
			t.Errorf("names %v", got)
		}
		if _, ok := s.Remaining(vpn.Set4, addr("8.8.8.8")); ok {
			t.Error("it is trusted to be there")
		}
	})
}

// TestPruneEnds: a context that ends while a set is pruned ends the waiting.
func TestPruneEnds(t *testing.T) {
	s, _ := openFake(t)
	for range 200 {
		learnFor(t, s, "a.example.", time.Hour, "8.8.8.8", "8.8.4.4", "9.9.9.9")
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_, _ = s.Prune(ctx, vpn, listed())
	}
}

// TestRemoveAfterBreak: the table is removed although the connection broke before.
func TestRemoveAfterBreak(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		apply(t, k, small())
		if err := k.do(t.Context(), func() error { return k.nft.Close() }); err != nil {
			t.Fatal(err)
		}
		if err := k.Remove(t.Context()); err != nil {
			t.Error(err)
		}
		if out := sh(t, "nft list tables"); out != "" {
			t.Errorf("left: %s", out)
		}
	})
}

// kernelFake takes all transactions.
type kernelFake struct {
	mu   sync.Mutex
	sets map[nft.SetRef]map[netip.Addr]time.Duration
	err  error // the answer to the next Commit
	sent int
}

func (f *kernelFake) Commit(changes []nft.Change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent++
	if err := f.err; err != nil {
		f.err = nil
		return err
	}
	for _, c := range changes {
		if f.sets[c.Set] == nil {
			f.sets[c.Set] = map[netip.Addr]time.Duration{}
		}
		for _, e := range c.Elems {
			if c.Op == nft.Put || c.Op == nft.Add {
				f.sets[c.Set][e.Addr] = e.Left
			} else {
				delete(f.sets[c.Set], e.Addr)
			}
		}
	}
	return nil
}

func (f *kernelFake) Reopen() error { return nil }

// openFake makes a Store over a fake, with the sets of vpn in it.
func openFake(t testing.TB) (*Store, *kernelFake) {
	t.Helper()
	f := &kernelFake{sets: map[nft.SetRef]map[netip.Addr]time.Duration{}}
	s := newStore(Options{Table: "nameroute"}, f)
	for _, ref := range []nft.SetRef{vpn.Set4, vpn.Set6} {
		s.track(ref).trusted.Store(true)
	}
	go s.run()
	t.Cleanup(func() { _ = s.Close() })
	return s, f
}

// TestNames: an address goes when all its names are known and none is listed.
func TestNames(t *testing.T) {
	one, two := []string{"8.8.8.8"}, []string{"8.8.4.4", "8.8.8.8"}
	for _, c := range []struct {
		name   string
		learn  func(s *Store)
		listed []string
		want   []string // gone
	}{
		{"listed", func(s *Store) { learnFor(t, s, "A.example.", time.Hour, two...) }, []string{"a.example."}, nil},
		{"not listed", func(s *Store) { learnFor(t, s, "A.example.", time.Hour, two...) }, nil, two},
		{"one of two names", func(s *Store) {
			learnFor(t, s, "a.example.", time.Hour, two...)
			learnFor(t, s, "b.example.", time.Hour, one...)
		}, []string{"b.example."}, two[:1]},
		{"there before its names are known", func(s *Store) {
			(*s.sets.Load())[vpn.Set4].note(nft.Element{Addr: addr("8.8.8.8"), Left: 2 * time.Hour}, s.clock.now())
			learnFor(t, s, "a.example.", time.Hour, one...)
		}, nil, nil},
		{"an answer without a question", func(s *Store) {
			learnFor(t, s, "a.example.", time.Hour, one...)
			learnFor(t, s, "", time.Hour, one...)
		}, nil, nil},
		{"more names than are kept", func(s *Store) {
			for i := range maxNames + 1 {
				learnFor(t, s, fmt.Sprintf("n%d.example.", i), time.Hour, one...)
			}
		}, nil, nil},
		{"as many names as are kept", func(s *Store) {
			for i := range maxNames {
				learnFor(t, s, fmt.Sprintf("n%d.example.", i), time.Hour, one...)
			}
		}, nil, one},
		{"the listed name has lapsed", func(s *Store) {
			learnFor(t, s, "a.example.", time.Hour, one...)
			learnFor(t, s, "b.example.", 1, one...)
		}, []string{"b.example."}, one},
		{"all names have lapsed, and the element has not", func(s *Store) {
			learnFor(t, s, "a.example.", 1, one...)
			set := (*s.sets.Load())[vpn.Set4]
			r, _ := set.records.Load(addr("8.8.8.8"))
			r.end += int64(time.Hour) // another program prolonged it
			set.records.Store(addr("8.8.8.8"), r)
		}, nil, nil},
		{"lapsed", func(s *Store) { learnFor(t, s, "a.example.", 1, one...) }, nil, nil},
		{"lapsed and learned again", func(s *Store) {
			learnFor(t, s, "a.example.", 1, one...)
			time.Sleep(time.Microsecond)
			learnFor(t, s, "b.example.", time.Hour, one...)
		}, []string{"a.example."}, one},
		{"no room for names", func(s *Store) {
			(*s.sets.Load())[vpn.Set4].maxNamed = 1
			learnFor(t, s, "a.example.", time.Hour, two...)
		}, nil, two[:1]},
		{"no room for names at first", func(s *Store) {
			set := (*s.sets.Load())[vpn.Set4]
			set.maxNamed = 0
			learnFor(t, s, "a.example.", time.Hour, one...)
			set.maxNamed = 10
			learnFor(t, s, "b.example.", time.Hour, one...)
		}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, f := openFake(t)
			c.learn(s)
			time.Sleep(time.Microsecond)
			before := slices.Collect(func(yield func(string) bool) {
				for a := range f.sets[vpn.Set4] {
					yield(a.String())
				}
			})
			n, err := s.Prune(t.Context(), vpn, listed(c.listed...))
			var gone []string
			for _, a := range before {
				if _, in := f.sets[vpn.Set4][addr(a)]; !in {
					gone = append(gone, a)
				}
			}
			slices.Sort(gone)
			if n != len(c.want) || err != nil || !slices.Equal(gone, c.want) {
				t.Errorf("gone %v, %d, %v; want %v", gone, n, err, c.want)
			}
			if n, err := s.Prune(t.Context(), vpn, listed(c.listed...)); n != 0 || err != nil {
				t.Errorf("pruned twice: %d, %v", n, err)
			}
		})
	}
}

// TestEnsured: an answer from the cache costs no memory, and what another name brought is
// accounted for without the kernel.
func TestEnsured(t *testing.T) {
	s, f := openFake(t)
	as := addrs("8.8.8.8", "8.8.4.4", "2606:4700::1")
	if missing := s.Missing(&vpn, as, 0); len(missing) != 3 {
		t.Errorf("missing before they are learned: %v", missing)
	}
	if names := s.Names(vpn.Set4, as[0]); names != nil {
		t.Errorf("accounted for before it is learned: %v", names)
	}
	learnFor(t, s, "b.example.", time.Hour, "8.8.8.8", "8.8.4.4", "2606:4700::1")
	if missing := s.Missing(&vpn, as, 59*time.Minute); len(missing) != 0 {
		t.Errorf("missing %v", missing)
	}
	if missing := s.Missing(&vpn, as, 61*time.Minute); len(missing) != 3 {
		t.Errorf("missing for longer than they live: %v", missing)
	}
	ensure := func(name string, need time.Duration) {
		t.Helper()
		if err := s.Ensure(t.Context(), &vpn, name, as, need, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	sent := f.sent
	ensure("www.A.example.", time.Minute)
	ensure("WWW.a.example.", time.Minute)
	if f.sent != sent {
		t.Error("the kernel was asked")
	}
	if got := s.Names(vpn.Set6, as[2]); !slices.Equal(got, []string{"b.example.", "www.a.example."}) {
		t.Errorf("names %v", got)
	}
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		_ = s.Ensure(ctx, &vpn, "www.A.example.", as, time.Minute, time.Hour)
		_ = s.Missing(&vpn, as, time.Minute)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	ensure("www.a.example.", 2*time.Hour)
	if f.sent == sent {
		t.Error("the kernel was not asked for more time")
	}
}
