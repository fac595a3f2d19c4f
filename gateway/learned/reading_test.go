package learned

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab/measure"
)

// others are sets that another program has made.
var others = nft.SetPair{
	Set4: nft.SetRef{Family: "inet", Table: "others", Name: "four"},
	Set6: nft.SetRef{Family: "inet", Table: "others", Name: "six"},
}

func makeOthers(t testing.TB) {
	t.Helper()
	sh(t, "nft 'table inet others { set four { type ipv4_addr; flags timeout; }; set six { type ipv6_addr; flags timeout; }; }'")
	t.Cleanup(func() { _, _ = try("nft delete table inet others") })
}

// heldUp has the readings of a store end when the test says so, with what they found before.
func heldUp(t *testing.T, k *Store) (begun <-chan nft.SetRef, end func()) {
	found, release := make(chan nft.SetRef, 10), make(chan struct{})
	read := k.readUpTo
	k.readUpTo = func(set nft.SetRef, most int, known func() []netip.Addr) ([]nft.Element, error) {
		elems, err := read(set, most, known)
		found <- set
		<-release
		return elems, err
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			close(release)
		}
	}
	t.Cleanup(end)
	return found, end
}

// TestLearnWhileReading: guarantee 1 needs no knowledge of what else a set holds, so that
// nothing waits for the reading of a large one. What others do meanwhile is believed.
func TestLearnWhileReading(t *testing.T) {
	k := open(t, Options{})
	makeOthers(t)
	sh(t, "nft 'add element inet others four { 8.8.8.8 timeout 1h, 8.8.4.4 timeout 2h, 7.7.7.7 }'")
	begun, end := heldUp(t, k)
	checked := make(chan error, 1)
	go func() { checked <- k.CheckSets(t.Context(), others) }()
	<-begun
	learn(t, k, others, time.Hour, "1.1.1.1")
	learn(t, k, others, time.Hour, "7.7.7.7") // which stays permanent
	for a, want := range map[string]time.Duration{"1.1.1.1": time.Hour, "7.7.7.7": 0} {
		if got := inKernel(t, k, others.Set4, a); got != want && !about(got, want) {
			t.Errorf("%s lives %v, want %v", a, got, want)
		}
	}
	sh(t, "nft 'delete element inet others four { 8.8.8.8 }'")
	eventually(t, restored, func() bool {
		var heard bool
		err := k.do(t.Context(), func() error {
			r := (*k.sets.Load())[others.Set4].reading
			heard = r != nil && r.deleted[addr("8.8.8.8")]
			return nil
		})
		return err == nil && heard
	})
	if known(k, &others, addrs("8.8.4.4"), 0) {
		t.Error("an address is known before the reading has ended")
	}
	end()
	if err := <-checked; err != nil {
		t.Fatal(err)
	}
	if !known(k, &others, addrs("1.1.1.1", "8.8.4.4"), time.Minute) {
		t.Error("what is in the set is not known")
	}
	if known(k, &others, addrs("8.8.8.8"), 0) {
		t.Error("an element that was deleted during the reading is believed to be there")
	}
}

// TestLearnWhileReadingOurs: after a restart, answers wait until the rules are in force,
// and for no reading.
func TestLearnWhileReadingOurs(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		first := open(t, Options{Force: m})
		apply(t, first, small())
		learn(t, first, vpn, time.Hour, "8.8.8.8")
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		k := openMore(t, Options{Force: m})
		begun, end := heldUp(t, k)
		applied := make(chan error, 1)
		go func() {
			_, err := k.Apply(t.Context(), firewall.Desired(small()))
			applied <- err
		}()
		<-begun
		if m != nft.ModeReplica { // the second table died with the first process: it is made anew, and the first read before
			learn(t, k, vpn, time.Hour, "9.9.9.9")
		}
		end()
		if err := <-applied; err != nil {
			t.Fatal(err)
		}
		if !known(k, &vpn, addrs("8.8.8.8"), time.Minute) {
			t.Error("what the first process learned is not known")
		}
	})
}

// TestReadLarge: of a set that is too large to be read, what is known is looked up.
func TestReadLarge(t *testing.T) {
	k := open(t, Options{})
	makeOthers(t)
	sh(t, "nft 'add element inet others six { 2606:4700::1 timeout 1h }'")
	var all []string
	for i := range 3000 {
		all = append(all, fmt.Sprintf("9.0.%d.%d timeout 1h", i/250, i%250))
	}
	sh(t, "nft 'add element inet others four { %s }'", strings.Join(all, ", "))
	if err := k.do(t.Context(), func() error {
		set := k.track(others.Set4)
		set.maxFound = 1000
		now := k.clock.now()
		for _, a := range []string{"9.0.1.1", "9.0.1.2", "8.8.8.8"} {
			set.put(addr(a), now+int64(2*time.Hour), nameRef{id: 1, name: "a.example", end: now + int64(time.Hour)}, now)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := k.CheckSets(t.Context(), others); err != nil {
		t.Fatal(err)
	}
	for a, want := range map[string]time.Duration{"9.0.1.1": time.Hour, "9.0.1.2": time.Hour, "8.8.8.8": 2 * time.Hour, "2606:4700::1": time.Hour} {
		if got, ok := k.Remaining(*others.Of(addr(a)), addr(a)); !ok || !about(got, want) {
			t.Errorf("%s lives %v, want %v", a, got, want)
		}
	}
	if got := inKernel(t, k, others.Set4, "8.8.8.8"); !about(got, 2*time.Hour) {
		t.Errorf("what was missing lives %v", got)
	}
	if known(k, &others, addrs("9.0.2.2"), 0) {
		t.Error("the whole set was read")
	}
	learn(t, k, others, time.Minute, "9.0.2.2")
}

// BenchmarkReadSet shows what a set of others costs at a start: before, all of it was
// dumped, and nothing learned meanwhile.
func BenchmarkReadSet(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			k := open(b, Options{})
			makeOthers(b)
			fillOthers(b, n)
			for b.Loop() {
				began := time.Now()
				if _, err := nft.ReadUpTo(others.Set4, math.MaxInt, nil); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-whole-dump")
				began = time.Now()
				checked := make(chan struct{})
				go func() {
					defer close(checked)
					if err := k.CheckSets(b.Context(), others); err != nil {
						b.Error(err)
					}
				}()
				var waits measure.Durations
				for i, reading := uint32(0), true; reading; i++ {
					select {
					case <-checked:
						reading = false
					default:
						asked := time.Now()
						if err := learnInto(k, b.Context(), others, []netip.Addr{fresh(i)}, time.Hour, time.Hour); err != nil {
							b.Fatal(err)
						}
						waits = append(waits, time.Since(asked))
					}
				}
				b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-until-known")
				b.ReportMetric(float64(len(waits)), "learned-meanwhile")
				waits.Report(b)
			}
		})
	}
}

func fillOthers(b *testing.B, n int) {
	b.Helper()
	conn, err := nft.Open(nft.Options{Table: "filler"})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	for i := 0; i < n; i += 1000 {
		elems := make([]nft.Element, 1000)
		for j := range elems {
			at := i + j
			elems[j] = nft.Element{Addr: netip.AddrFrom4([4]byte{9, byte(at >> 16), byte(at >> 8), byte(at)}), Left: time.Hour}
		}
		if err := conn.Commit([]nft.Change{{Set: others.Set4, Op: nft.Add, Elems: elems}}); err != nil {
			b.Fatal(err)
		}
	}
}
