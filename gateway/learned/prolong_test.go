package learned

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
)

// What is in use is prolonged with its names, and brought back where it lapsed just now;
// what was pruned, or is in no set, is not.
func TestProlong(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		apply(t, k, small())
		learnFor(t, k, "a.example.", time.Minute, "8.8.8.8", "2606:4700::1")
		learnFor(t, k, "b.example.", time.Second, "9.9.9.9")
		learnFor(t, k, "gone.example.", time.Minute, "7.7.7.7")
		learnFor(t, k, "far.example.", time.Hour, "6.6.6.6")
		if n, err := k.Prune(t.Context(), vpn, listed("a.example.", "b.example.", "far.example.")); n != 1 || err != nil {
			t.Fatalf("%d pruned, %v", n, err)
		}
		for inKernel(t, k, vpn.Set4, "9.9.9.9") > 0 {
			time.Sleep(50 * time.Millisecond)
		}
		ending := slices.SortedFunc(maps.Keys(k.Ending(vpn, 10*time.Minute, time.Hour)), netip.Addr.Compare)
		if want := addrs("8.8.8.8", "9.9.9.9", "2606:4700::1"); !slices.Equal(ending, want) {
			t.Errorf("ending: %v, want %v", ending, want)
		}
		if err := k.Prolong(t.Context(), vpn, addrs("8.8.8.8", "2606:4700::1", "9.9.9.9", "7.7.7.7", "1.2.3.4"), 30*time.Minute); err != nil {
			t.Fatal(err)
		}
		for a, want := range map[string]time.Duration{"8.8.8.8": 30 * time.Minute, "9.9.9.9": 30 * time.Minute, "2606:4700::1": 30 * time.Minute, "6.6.6.6": time.Hour} {
			if got := inKernel(t, k, *vpn.Of(addr(a)), a); !about(got, want) {
				t.Errorf("%s lives %v, want %v", a, got, want)
			}
			if !known(k, &vpn, addrs(a), want-time.Minute) {
				t.Errorf("%s is not known for %v", a, want)
			}
		}
		for _, a := range []string{"7.7.7.7", "1.2.3.4"} {
			if inKernel(t, k, vpn.Set4, a) > 0 {
				t.Errorf("%s is in the set", a)
			}
		}
		// The lists still decide.
		if n, err := k.Prune(t.Context(), vpn, listed("far.example.")); n != 3 || err != nil {
			t.Errorf("%d pruned of what was prolonged, %v; want 3", n, err)
		}
	})
}

// Where the names are not known, no list can take an address away: its flows prolong it for
// a bounded time.
func TestProlongUnknown(t *testing.T) {
	r := record{end: int64(time.Minute), asked: int64(time.Minute), unknown: true}
	for now := int64(0); now < int64(3*time.Hour) && r.end > now && r.lasts(now, time.Hour); now += int64(30 * time.Second) {
		r = r.prolonged(now+int64(time.Minute), now)
	}
	if r.end < int64(time.Hour) || r.end > int64(time.Hour+3*time.Minute) {
		t.Errorf("lives %v", time.Duration(r.end))
	}
}
