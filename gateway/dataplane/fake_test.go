package dataplane

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/policy"
)

// fake is the system and the kernel of a box, so that a controller needs no privileges.
type fake struct {
	log logBuffer

	mu           sync.Mutex
	routes       map[string]policy.RouteState // all routes of the configuration are up but these
	resolversErr error
	applyErr     error
	foreignErr   error
	learnErr     error
	applied      []*nft.Table
	removed      bool
	closed       bool
	elements     map[netip.Addr]time.Time // when they end
	learns       int
}

func newFake() *fake {
	return &fake{routes: map[string]policy.RouteState{}, elements: map[netip.Addr]time.Time{}}
}

// controller returns a controller on the fake, without its loops.
func (f *fake) controller(t testing.TB, yaml string) *Controller {
	t.Helper()
	c, err := newController(Options{Config: parse(t, yaml), State: t.TempDir(), Log: slog.New(slog.NewTextHandler(&f.log, nil))}, f,
		func(nft.Options) (kernel, error) { return f, nil })
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

func (f *fake) Local([]string) ([]netip.Prefix, error) { return nil, nil }

func (f *fake) WANResolvers(*gateway.Config) ([]netip.AddrPort, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, f.resolversErr
}

func (f *fake) Counts() (firewall.Counts, error) { return firewall.Counts{}, nil }

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

func (f *fake) Remove(context.Context, string) error {
	f.set(func() { f.removed = !f.closed })
	return nil
}

func (f *fake) Close() error {
	f.set(func() { f.closed = true })
	return nil
}

func (f *fake) Features() nft.Features { return nft.Features{} }

func (f *fake) Knows(_ *nft.SetPair, addrs []netip.Addr, need time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range addrs {
		if time.Until(f.elements[a]) < need {
			return false
		}
	}
	return true
}

func (f *fake) Holds(_ *nft.SetPair, a netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Until(f.elements[a]) > 0
}

func (f *fake) Learn(_ context.Context, _ nft.SetPair, addrs []netip.Addr, _, want time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.learns++; f.learnErr != nil {
		return f.learnErr
	}
	for _, a := range addrs {
		f.elements[a] = time.Now().Add(want)
	}
	return nil
}

func (f *fake) Learned(nft.SetRef) []nft.Element                          { return nil }
func (f *fake) Remember(context.Context, nft.SetRef, []nft.Element) error { return nil }
func (f *fake) Doubt(*nft.SetPair, netip.Addr)                            {}
func (f *fake) Forget(context.Context, nft.SetPair, []netip.Addr) error   { return nil }
func (f *fake) Changes() uint64                                           { return 0 }

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
