package learned

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab"
)

// TestStress runs everything that a Store does at random and at the same time, while
// another program deletes the table, its rules and its elements and the connection breaks.
// What Ensure has promised for a listed name is in the kernel until the promise ends,
// unless the other program deletes that element; and in the end the kernel has what the
// Store believes.
func TestStress(t *testing.T) {
	for _, o := range []Options{{Force: nft.ModeOwned}, {Force: nft.ModePlain}, {Force: nft.ModeReplica, NoUpdate: true}} {
		t.Run(string(o.Force), func(t *testing.T) { newStress(t, o).run() })
	}
}

// stress is one run. Addresses are drawn from a small pool, so that names, prolongations
// and deletions meet.
type stress struct {
	*testing.T
	k       *Store
	seed    uint64
	other   bool // another program can change the table
	stop    atomic.Bool
	turmoil atomic.Uint64 // odd while something is broken and not restored yet
	lost    atomic.Uint64 // how often the other program deleted elements

	mu       sync.Mutex
	promises map[netip.Addr]promise // the longest of each address
	counts   map[string]int
}

// promise is what Ensure has returned for.
type promise struct {
	until time.Time
	lost  uint64 // stress.lost before the call
}

func newStress(t *testing.T, o Options) *stress {
	o.SweepInterval = 20 * time.Millisecond
	s := &stress{
		T: t, seed: rand.Uint64(), other: o.Force != nft.ModeOwned,
		promises: map[netip.Addr]promise{}, counts: map[string]int{},
	}
	s.k = open(t, o)
	t.Logf("seed %d", s.seed)
	apply(t, s.k, small())
	return s
}

func (s *stress) run() {
	var wg sync.WaitGroup
	for i, work := range []func(*rand.Rand){s.ensure, s.ensure, s.ensure, s.prune, s.apply, s.save, s.disturb} {
		wg.Go(func() {
			for r := rand.New(rand.NewPCG(s.seed, uint64(i))); !s.stop.Load() && !s.Failed(); {
				work(r)
			}
		})
	}
	time.Sleep(1500 * time.Millisecond)
	s.stop.Store(true)
	wg.Wait()
	s.Logf("%v", s.counts)
	if !s.Failed() {
		s.settle()
		s.compare()
	}
}

func (s *stress) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// pool returns one of the addresses that all draw from.
func pool(r *rand.Rand) netip.Addr {
	if r.IntN(4) == 0 {
		return netip.AddrFrom16([16]byte{0x26, 6, 0x47, 15: byte(r.IntN(100))})
	}
	return netip.AddrFrom4([4]byte{8, 8, 8, byte(r.IntN(200))})
}

// foreign are the addresses that another program adds.
var foreign = netip.MustParsePrefix("198.18.0.0/16")

// isListed says which names are.
func isListed(name string) bool { return strings.HasPrefix(name, "listed") }

// ensure learns an answer, and asks the kernel whether it has it, or what was promised
// before.
func (s *stress) ensure(r *rand.Rand) {
	var as []netip.Addr
	for range 1 + r.IntN(3) {
		as = append(as, pool(r))
	}
	name := []string{"listed%d.example.", "LISTED%d.example.", "unlisted%d.example.", "unlisted%d.example."}[r.IntN(4)]
	name = strings.Replace(name, "%d", fmt.Sprint(r.IntN(8)), 1)
	need := []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, time.Hour}[min(3, r.IntN(40)/13)]
	want := need + time.Duration(r.IntN(3))*need/2
	p := promise{until: time.Now().Add(need), lost: s.lost.Load()}
	if err := s.k.Ensure(s.Context(), &vpn, name, as, need, want); err != nil {
		s.Errorf("ensure: %v", err)
		return
	}
	s.count("ensure")
	if !isListed(strings.ToLower(name)) {
		return
	}
	for _, a := range as {
		s.mu.Lock()
		if old := s.promises[a]; old.lost != p.lost || old.until.Before(p.until) {
			s.promises[a] = p
		}
		s.mu.Unlock()
		s.check(a, p, "just now")
	}
	a := pool(r)
	s.mu.Lock()
	p, ok := s.promises[a]
	s.mu.Unlock()
	if ok {
		s.check(a, p, "before")
	}
}

// check requires that the kernel has a promised element. While something is broken it
// finds nothing out. The kernel's time advances in steps of 1 to 10 ms.
func (s *stress) check(a netip.Addr, p promise, when string) {
	calm := s.turmoil.Load()
	if calm%2 != 0 {
		return
	}
	refs := []nft.SetRef{*vpn.Of(a)}
	if s.k.Features().Mode == nft.ModeReplica {
		refs = append(refs, nft.SetRef{Family: "inet", Table: "nameroute_replica", Name: refs[0].Name})
	}
	for _, ref := range refs {
		if has(s, ref, a.String()) || time.Until(p.until) < 10*time.Millisecond {
			continue
		}
		if s.turmoil.Load() == calm && s.lost.Load() == p.lost {
			left, known := s.k.Remaining(ref, a)
			s.Errorf("%s was promised %s for %v more and is not in set %s; believed to be: %v, for %v; names %v",
				a, when, time.Until(p.until), ref, known, left, s.k.Names(ref, a))
		}
		return
	}
	s.count("checked")
}

func (s *stress) prune(r *rand.Rand) {
	n, err := s.k.Prune(s.Context(), vpn, isListed)
	if err != nil && s.turmoil.Load()%2 == 0 {
		s.Logf("prune: %v", err) // the connection was broken
	}
	s.mu.Lock()
	s.counts["pruned"] += n
	s.mu.Unlock()
	time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
}

// apply changes rules, prefixes, the size of the sets, and the routes that there are.
func (s *stress) apply(r *rand.Rand) {
	spec := small()
	spec.Config.SetSize -= r.IntN(2)
	if r.IntN(2) == 0 {
		spec.Prefixes = map[string][]netip.Prefix{"vpn": many(r.IntN(1500))}
	}
	if r.IntN(2) == 0 {
		spec.Config.Routes = append(spec.Config.Routes, route("more", 2))
	}
	if r.IntN(2) == 0 {
		spec.WANLinks = nil
	}
	if _, err := s.k.Apply(s.Context(), firewall.Desired(spec)); err != nil {
		s.Errorf("apply: %v", err)
	}
	s.count("apply")
	time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
}

func (s *stress) save(*rand.Rand) {
	routes := map[string]nft.SetPair{"vpn": vpn}
	file := filepath.Join(s.TempDir(), "learned")
	if err := s.k.Save(file, routes, true); err != nil {
		s.Errorf("save: %v", err)
	}
	time.Sleep(10 * time.Millisecond)
}

// disturb is another program, or a connection that breaks. It waits until the Store has
// noticed.
func (s *stress) disturb(r *rand.Rand) {
	time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
	s.turmoil.Add(1)
	defer s.turmoil.Add(1)
	if r.IntN(4) == 0 {
		if err := s.k.do(s.Context(), func() error { return s.k.nft.Close() }); err != nil {
			s.Error(err)
		}
		s.count("connection broken")
		s.settle()
		return
	}
	if !s.other {
		return
	}
	deletes := false
	for range 1 + r.IntN(2) {
		by := []string{
			"flush ruleset", "delete table inet nameroute", "flush chain inet nameroute classify", "flush set inet nameroute exclude4",
			"flush set inet nameroute vpn4", "delete element inet nameroute vpn4 { 8.8.8.1 }", "add element inet nameroute vpn4 { 8.8.8.2 timeout 50ms }",
		}[r.IntN(7)]
		if strings.Contains(by, " vpn4") {
			deletes = true
			s.lost.Add(1)
		}
		if _, err := try("nft '%s'", by); err == nil { // its object may not be there
			s.count(by)
		}
	}
	s.settle()
	if deletes {
		s.lost.Add(1) // what was promised since relied on what was not noticed yet
	}
}

// settle waits until the Store has noticed all that the other program has done so far:
// when it knows the program's last element, it has seen all events before it.
func (s *stress) settle() {
	var last netip.Addr
	err := netlab.Poll(10*time.Second*slack, func() error {
		if s.other {
			if !last.IsValid() {
				raw := foreign.Addr().As4()
				a := netip.AddrFrom4([4]byte{raw[0], raw[1], byte(rand.IntN(256)), byte(rand.IntN(256))})
				if out, err := try("nft 'add element inet nameroute vpn4 { %s timeout 1h }'", a); err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				last = a
			}
			if _, ok := s.k.Remaining(vpn.Set4, last); !ok {
				return fmt.Errorf("%s is not known", last)
			}
		}
		// A broken connection is noticed when it is written to.
		r := netip.AddrFrom4([4]byte{9, 9, byte(rand.IntN(256)), byte(rand.IntN(256))})
		return learnInto(s.k, s.Context(), vpn, []netip.Addr{r}, time.Hour, time.Hour)
	})
	if err != nil {
		s.Errorf("not settled: %v", err)
	}
}

// compare requires that the kernel has what the Store believes, and nothing else.
func (s *stress) compare() {
	apply(s, s.k, small())
	if n := apply(s, s.k, small()); n != 0 {
		s.Errorf("%d changes", n)
	}
	tables := []string{gateway.TableName}
	if s.k.Features().Mode == nft.ModeReplica {
		tables = append(tables, gateway.TableName+"_replica")
	}
	for _, set := range []nft.SetRef{vpn.Set4, vpn.Set6} {
		for _, table := range tables {
			ref := nft.SetRef{Family: "inet", Table: table, Name: set.Name}
			var diff []string
			err := netlab.Poll(time.Minute, func() error { // what expires does so at about the same time
				diff = s.differ(set, ref)
				return netlab.Check(len(diff) == 0, "differs")
			})
			if err != nil {
				s.Errorf("set %s: %s", ref, strings.Join(diff, ", "))
			}
		}
	}
	for a, p := range maps.All(s.promises) {
		s.check(a, p, "in the end")
	}
}

func (s *stress) differ(set, ref nft.SetRef) (diff []string) {
	elems, err := nft.ReadElements(ref)
	if err != nil {
		return []string{err.Error()}
	}
	have := map[netip.Addr]bool{}
	for _, e := range elems {
		if have[e.Addr] = true; set == ref && len(s.k.Missing(&nft.SetPair{Set4: set, Set6: set}, []netip.Addr{e.Addr}, 0)) > 0 {
			diff = append(diff, fmt.Sprintf("%s is not known", e.Addr))
		}
	}
	for _, e := range s.k.Learned(set) {
		// Another program adds to our table, not to its replica; and what it adds while we make
		// the set anew is lost with the old one. Nobody was promised that.
		if !have[e.Addr] && !foreign.Contains(e.Addr) {
			diff = append(diff, fmt.Sprintf("%s is not in the kernel", e.Addr))
		}
	}
	slices.Sort(diff)
	return diff
}
