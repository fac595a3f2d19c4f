package nft

import (
	"net/netip"
	"sync"
	"testing"
	"time"
)

// many are n prefixes that neither touch nor overlap, half of each family.
func many(n int) []netip.Prefix {
	out := make([]netip.Prefix, 0, n)
	for i := range n / 2 {
		v4 := netip.AddrFrom4([4]byte{byte(20 + i>>15), byte(i >> 7), byte(i << 1), 0})
		v6 := netip.AddrFrom16([16]byte{0x24, 0, byte(i >> 15), byte(i >> 7), byte(i << 1)})
		out = append(out, netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 40))
	}
	return out
}

// A list of 100,000 prefixes is there in seconds, an update writes what changed and
// nothing else, and answers that wait for the kernel meanwhile hardly notice.
func TestHundredThousandPrefixes(t *testing.T) {
	const n = 100_000
	k := open(t, Options{})
	places := 1
	if k.Features().Mode == ModeTwins {
		places = 2
	}
	s := small()
	apply(t, k, s)
	s.Prefixes = map[string][]netip.Prefix{"vpn": many(n)}

	learning := learnAllTheTime(t, k)
	began := time.Now()
	if got := apply(t, k, s); got != n*places {
		t.Errorf("%d changes, want %d", got, n*places)
	}
	took, worst := time.Since(began), learning.worst()
	t.Logf("%d prefixes are there after %v; an answer waited %v at most", n, took.Round(time.Millisecond), worst)
	if took > 10*time.Second*slack {
		t.Errorf("it took %v", took)
	}
	learning.within(t, "loads")

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
		table := Desired(s)
		learning.reset()
		began := time.Now()
		got, err := k.Apply(t.Context(), table)
		if err != nil || got != step.want*places {
			t.Errorf("%s: %d changes, %v; want %d", step.name, got, err, step.want*places)
		}
		t.Logf("%s: applied in %v; an answer waited %v at most", step.name, time.Since(began).Round(time.Millisecond), learning.worst())
		learning.within(t, step.name)
	}
	learning.stop()
}

// learnings learns one address after the other and notes the longest wait.
type learnings struct {
	mu      sync.Mutex
	longest time.Duration
	stop    func()
}

func learnAllTheTime(t testing.TB, k *Kernel) *learnings {
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
			if err := k.Learn(t.Context(), vpn, []netip.Addr{fresh(i)}, time.Hour, time.Hour); err != nil {
				t.Error(err)
				return
			}
			l.mu.Lock()
			l.longest = max(l.longest, time.Since(began))
			l.mu.Unlock()
		}
	})
	return l
}

func (l *learnings) worst() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.longest.Round(10 * time.Microsecond)
}

func (l *learnings) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest = 0
}

func (l *learnings) within(t *testing.T, when string) {
	t.Helper()
	// Without turns it is 200 ms. What it is without other programs, the benchmark tells.
	if limit := 50 * time.Millisecond * slack; l.worst() > limit {
		t.Errorf("%s: an answer waited %v, want at most %v", when, l.worst(), limit)
	}
}

// BenchmarkPrefixUpdate changes ten of 100,000 prefixes while answers learn.
func BenchmarkPrefixUpdate(b *testing.B) {
	k := open(b, Options{})
	s, all := small(), many(100_000)
	s.Config.SetSize = 1 << 24
	apply(b, k, s)
	tables := [2]*Table{}
	for i, ps := range [][]netip.Prefix{append(all[:100:100], all[110:]...), all} {
		s.Prefixes = map[string][]netip.Prefix{"vpn": ps}
		tables[i] = Desired(s)
	}
	if _, err := k.Apply(b.Context(), tables[1]); err != nil {
		b.Fatal(err)
	}
	learning := learnAllTheTime(b, k)
	i := 0
	for b.Loop() {
		if n, err := k.Apply(b.Context(), tables[i%2]); err != nil || n != 10 {
			b.Fatal(n, err)
		}
		i++
	}
	b.ReportMetric(float64(learning.worst())/1e6, "ms-longest-wait")
	learning.stop()
}
