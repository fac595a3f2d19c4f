package dataplane

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// fake is the system and the kernel of a box, so that a controller needs no privileges.
type fake struct {
	flowsErr error // of Flows
	learned  func(nft.SetRef) []nft.Element
	log      logBuffer

	mu           sync.Mutex
	routes       map[string]policy.RouteState // all routes of the configuration are up but these
	resolvers    map[string]resolvers.Found
	resolversErr error
	applyErr     error
	foreignErr   error
	learnErr     error
	applied      []*nft.Table
	removed      bool
	closed       bool
	elements     map[netip.Addr]time.Time // when they end
	names        map[netip.Addr][]string
	learns       int
	flows        []conntrack.Flow
	missed       bool // walks see no flow
	walks        int
	crowded      bool
	counts       firewall.Counts
}

func newFake() *fake {
	return &fake{routes: map[string]policy.RouteState{}, elements: map[netip.Addr]time.Time{}, names: map[netip.Addr][]string{}}
}

// controller returns a controller on the fake, without its loops.
func (f *fake) controller(t testing.TB, yaml string) *Controller {
	t.Helper()
	c, err := newController(Options{Config: parse(t, yaml), State: t.TempDir(), Log: slog.New(slog.NewTextHandler(&f.log, nil))}, f,
		func(learned.Options) (kernel, error) { return f, nil })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t testing.TB, yaml string) *gateway.Config {
	t.Helper()
	cfg, err := config.Parse("gateway.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// set changes the fake.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) Routes(cfg *gateway.Config) (map[string]policy.RouteState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]policy.RouteState{}
	for _, r := range cfg.AllRoutes() {
		out[r.Name] = policy.RouteState{Default4: true, Default6: true}
		if s, ok := f.routes[r.Name]; ok {
			out[r.Name] = s
		}
	}
	return out, nil
}

func (f *fake) Programs([]gateway.Clients) map[string]gateway.Programs { return nil }

func (f *fake) Local(*gateway.Config) (policy.Local, error) { return policy.Local{}, nil }

func (f *fake) Resolvers(*gateway.Config, map[string]policy.RouteState) (map[string]resolvers.Found, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.resolvers, f.resolversErr
}

func (f *fake) Counts() (firewall.Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts, nil
}

func (f *fake) Flows(_ gateway.Mark, do func(conntrack.Flow)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.walks++; f.missed {
		return nil
	}
	if f.flowsErr != nil {
		return f.flowsErr
	}
	for _, flow := range f.flows {
		do(flow)
	}
	return nil
}

func (f *fake) DeleteFlows(_ gateway.Mark, chosen func(conntrack.Flow) bool) (deleted []conntrack.Flow, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flows = slices.DeleteFunc(f.flows, func(flow conntrack.Flow) bool {
		if !chosen(flow) {
			return false
		}
		deleted = append(deleted, flow)
		return true
	})
	return deleted, nil
}

func (f *fake) Watch(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}

func (f *fake) Apply(_ context.Context, t *nft.Table) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.applied = append(f.applied, t); f.applyErr != nil {
		return 0, f.applyErr
	}
	return 1, nil
}

func (f *fake) applies() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.applied)
}

func (f *fake) CheckSets(context.Context, nft.SetPair) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.foreignErr
}

func (f *fake) Remove(context.Context) error {
	f.set(func() { f.removed = !f.closed })
	return nil
}

func (f *fake) Close() error {
	f.set(func() { f.closed = true })
	return nil
}

func (f *fake) Features() nft.Features { return nft.Features{} }

func (f *fake) Missing(_ *nft.SetPair, addrs []netip.Addr, need time.Duration) (missing []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range addrs {
		if left := time.Until(f.elements[a]); left < need || left <= 0 {
			missing = append(missing, a)
		}
	}
	return missing
}

func (f *fake) Ensured(*nft.SetPair, string, []netip.Addr, time.Duration) bool { return false }

func (f *fake) Ensure(_ context.Context, pair *nft.SetPair, name string, addrs []netip.Addr, need, want time.Duration) error {
	missing := f.Missing(pair, addrs, need)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(missing) > 0 {
		if f.learns++; f.learnErr != nil {
			return f.learnErr
		}
	}
	for _, a := range missing {
		f.elements[a] = time.Now().Add(want)
	}
	for _, a := range addrs {
		if name = strings.ToLower(name); !slices.Contains(f.names[a], name) {
			f.names[a] = append(f.names[a], name)
		}
	}
	return nil
}

func (f *fake) Crowded(*nft.SetPair) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crowded
}
func (f *fake) Prune(context.Context, nft.SetPair, func(string) bool) (int, error) { return 0, nil }
func (f *fake) Ending(_ nft.SetPair, within, _ time.Duration) map[netip.Addr]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	ending := map[netip.Addr]bool{}
	for a, end := range f.elements {
		if time.Until(end) < within {
			ending[a] = true
		}
	}
	return ending
}

func (f *fake) Prolong(_ context.Context, _ nft.SetPair, addrs []netip.Addr, want time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range addrs {
		f.elements[a] = time.Now().Add(want)
	}
	return nil
}

func (f *fake) Learned(ref nft.SetRef) []nft.Element {
	if f.learned == nil {
		return nil
	}
	return f.learned(ref)
}
func (f *fake) Move(context.Context, nft.SetPair, func([]string) *nft.SetPair) (int, error) {
	return 0, nil
}
func (f *fake) Names(nft.SetRef, netip.Addr) []string                  { return nil }
func (f *fake) Fact(nft.SetRef, netip.Addr) (of learned.Fact, ok bool) { return of, false }
func (f *fake) Load(context.Context, string, func(string) (nft.SetPair, bool), time.Duration) error {
	return nil
}
func (f *fake) Save(string, map[string]nft.SetPair, bool) error { return nil }
func (f *fake) Changes() uint64                                 { return 0 }

// logBuffer is written and read by several goroutines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// count returns how many lines contain a text.
func (b *logBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for line := range strings.Lines(b.buf.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}
