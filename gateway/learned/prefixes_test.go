package learned

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

// A list of 100,000 prefixes is there in seconds, an update writes what changed and
// nothing else, and answers that wait for the kernel meanwhile hardly notice.
func TestHundredThousandPrefixes(t *testing.T) {
	const n = 100_000
	k := open(t, Options{})
	places := 1
	if k.Features().Mode == nft.ModeReplica {
		places = 2
	}
	s := small()
	apply(t, k, s)
	s.Prefixes = map[string][]netip.Prefix{"vpn": many(n)}

	learning := learnAllTheTime(t, k)
	began := time.Now()
	got := apply(t, k, s)
	took := time.Since(began)
	// With them come the sets that they are in, and a rule for each.
	if more := got - n*places; more < 0 || more > 100*places {
		t.Errorf("%d changes, want %d and some", got, n*places)
	}
	t.Logf("%d prefixes are there after %v; %v", n, took.Round(time.Millisecond), learning)
	learning.goesOn(t, "loads")

	all := s.Prefixes["vpn"]
	for _, step := range []struct {
		name string
		to   []netip.Prefix
		want int
	}{
		{"ten go", append(all[:100:100], all[110:]...), 10},
		{"ten come", all, 10},
		{"nothing changes", all, 0},
	} {
		s.Prefixes = map[string][]netip.Prefix{"vpn": step.to}
		table := firewall.Desired(s)
		learning.reset()
		began := time.Now()
		got, err := k.Apply(t.Context(), table)
		if err != nil || got != step.want*places {
			t.Errorf("%s: %d changes, %v; want %d", step.name, got, err, step.want*places)
		}
		t.Logf("%s: applied in %v; %v", step.name, time.Since(began).Round(time.Millisecond), learning)
		learning.goesOn(t, step.name)
	}
	learning.stop()
}

// learnings learns one address after the other and notes how long each waited.
type learnings struct {
	mu    sync.Mutex
	waits []time.Duration
	stop  func()
}

func learnAllTheTime(t testing.TB, k *Store) *learnings {
	l, end := &learnings{}, make(chan struct{})
	var done sync.WaitGroup
	l.stop = sync.OnceFunc(func() { close(end); done.Wait() })
	t.Cleanup(l.stop)
	done.Go(func() {
		for i := uint32(0); ; i++ {
			select {
			case <-end:
				return
			case <-time.After(200 * time.Microsecond):
			}
			began := time.Now()
			if err := learnInto(k, t.Context(), vpn, []netip.Addr{fresh(i)}, time.Hour, time.Hour); err != nil {
				t.Error(err)
				return
			}
			l.mu.Lock()
			l.waits = append(l.waits, time.Since(began))
			l.mu.Unlock()
		}
	})
	return l
}

// wait is how long that part of the answers waited at most.
func (l *learnings) wait(part float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waits) == 0 {
		return 0
	}
	slices.Sort(l.waits)
	return l.waits[int(part*float64(len(l.waits)-1))].Round(10 * time.Microsecond)
}

func (l *learnings) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits = nil
}

// String tells how long answers waited.
func (l *learnings) String() string {
	l.mu.Lock()
	n := len(l.waits)
	l.mu.Unlock()
	return fmt.Sprintf("%d answers waited %v (half), %v (99%%), %v (all) at most", n, l.wait(0.5), l.wait(0.99), l.wait(1))
}

// goesOn wants that answers were learned all the time: without turns there would be a few,
// whatever the machine.
func (l *learnings) goesOn(t *testing.T, when string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.waits); n < 50 {
		t.Errorf("%s: %d answers were learned meanwhile, want hundreds", when, n)
	}
}

// BenchmarkPrefixes measures what answers wait that learn meanwhile: while nothing else
// happens, while 100,000 prefixes come and go, while ten of them do, and while all are
// read again.
func BenchmarkPrefixes(b *testing.B) {
	k := open(b, Options{})
	s, all := small(), many(100_000)
	s.Config.SetSize = 1 << 24
	table := func(ps []netip.Prefix) *nft.Table {
		s.Prefixes = map[string][]netip.Prefix{"vpn": ps}
		return firewall.Desired(s)
	}
	none, full, fewer := table(nil), table(all), table(append(all[:100:100], all[110:]...))
	for _, c := range []struct {
		name  string
		turns [2]*nft.Table
	}{
		{"nothing", [2]*nft.Table{none, none}},
		{"all", [2]*nft.Table{full, none}},
		{"ten", [2]*nft.Table{fewer, full}},
		{"reread", [2]*nft.Table{full, full}},
	} {
		b.Run(c.name, func(b *testing.B) {
			if _, err := k.Apply(b.Context(), c.turns[1]); err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			learning := learnAllTheTime(b, k)
			for i := 0; b.Loop(); i++ {
				if c.name == "nothing" {
					time.Sleep(100 * time.Millisecond)
				} else if _, err := k.Apply(b.Context(), c.turns[i%2]); err != nil {
					b.Fatal(err)
				}
			}
			learning.stop()
			for part, unit := range map[float64]string{0.5: "us-half", 0.99: "us-99%", 1: "us-all"} {
				b.ReportMetric(float64(learning.wait(part).Microseconds()), unit)
			}
		})
	}
}
