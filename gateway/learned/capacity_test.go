package learned

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
)

// fulls collects what OnFull is told.
type fulls struct {
	mu  sync.Mutex
	all []Full
}

func (f *fulls) add(x Full) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, x)
}

func (f *fulls) seen() []Full {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Full(nil), f.all...)
}

// TestRoom: in a full set what is closest to its end gives way, as long as no valid
// answer holds it; what may be in one stays, and new addresses are refused then.
func TestRoom(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		if m == nft.ModePlain {
			return // as a replica is, but once
		}
		var told fulls
		spare := 5 * time.Minute
		k := open(t, Options{Force: m, OnFull: told.add, Grace: func() time.Duration { return spare }})
		s := small()
		s.Config.SetSize = 300
		apply(t, k, s)
		for i := range 200 { // in grace
			learn(t, k, vpn, time.Minute+time.Duration(i)*time.Second, fmt.Sprintf("8.8.0.%d", i))
		}
		for i := range 100 { // in use
			learn(t, k, vpn, 10*time.Minute, fmt.Sprintf("8.8.1.%d", i))
		}
		learn(t, k, vpn, time.Hour, "9.9.9.9")
		if got := told.seen(); len(got) != 1 || got[0] != (Full{vpn.Set4, 300, minReclaim}) {
			t.Errorf("told %+v", got)
		}
		for a, stays := range map[string]bool{"8.8.0.0": false, "8.8.0.63": false, "8.8.0.64": true, "8.8.1.0": true, "9.9.9.9": true} {
			if in := inKernel(t, k, vpn.Set4, a) > 0; in != stays || known(k, &vpn, addrs(a), time.Second) != stays {
				t.Errorf("%s is in the set: %v, want %v", a, in, stays)
			}
		}
		// What gave way is learned again; all the rest of the grace makes room in the end.
		for i := range 199 {
			err := learnInto(k, t.Context(), vpn, addrs(fmt.Sprintf("7.7.7.%d", i)), time.Hour, time.Hour)
			for range 20 {
				if !errors.Is(err, ErrSetFull) {
					break
				}
				time.Sleep(fullPause / 2)
				err = learnInto(k, t.Context(), vpn, addrs(fmt.Sprintf("7.7.7.%d", i)), time.Hour, time.Hour)
			}
			if err != nil {
				t.Fatalf("address %d: %v", i, err)
			}
		}
		if err := learnInto(k, t.Context(), vpn, addrs("1.1.1.1"), time.Hour, time.Hour); !errors.Is(err, ErrSetFull) {
			t.Errorf("all are in use: %v", err)
		}
		for i := range 100 {
			if a := fmt.Sprintf("8.8.1.%d", i); inKernel(t, k, vpn.Set4, a) == 0 {
				t.Fatalf("%s gave way although it is in use", a)
			}
		}
		if n := len(told.seen()); n < 3 || n > 12 {
			t.Errorf("told %d times", n)
		}
	})
}

// TestManyAtOnce: 10,000 addresses of 10,000 answers in a second, from 100 clients.
func TestManyAtOnce(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m, NoUpdate: m == nft.ModeReplica})
		apply(t, k, small())
		began := time.Now()
		var wg sync.WaitGroup
		for c := range 100 {
			wg.Go(func() {
				for i := range 100 {
					if err := learnInto(k, t.Context(), vpn, addrs(fmt.Sprintf("8.1.%d.%d", c, i)), time.Hour, time.Hour); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		awaitElements(t, k, vpn.Set4, 10_000)
		t.Logf("10,000 in %v", took)
	})
}
