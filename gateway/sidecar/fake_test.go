package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/probe"
	"github.com/nameroute/nameroute/gateway/wg"
)

// fakeSystem is an operating system in memory. It writes down what is done to it.
type fakeSystem struct {
	t      *testing.T
	begun  <-chan struct{}  // closed after the first apply; the kernel is watched from then on
	events chan policy.Kind // another program has changed something

	mu         sync.Mutex
	steps      []string
	inputs     policy.Inputs
	state      policy.State
	reads      int
	forwards   bool
	failures   map[string]error // of operations: route, open, configure, mark
	devices    map[string]*fakeDevice
	links      []wg.Link
	peers      []wg.PeerStatus // of a device that is opened
	diversions []policy.Diversion
	applied    func() // after each Apply of routing that changed something
	probes     fakeProber
}

func newFakeSystem(t *testing.T) *fakeSystem {
	hop := policy.Hop{Via: netip.MustParseAddr("192.0.2.1"), Link: "wan0", Index: 2, Weight: 1}
	return &fakeSystem{
		t: t, events: make(chan policy.Kind, 1), peers: []wg.PeerStatus{{LastHandshake: time.Now()}}, failures: map[string]error{}, devices: map[string]*fakeDevice{},
		inputs: policy.Inputs{
			Links: []policy.Link{
				{Name: "wan0", Index: 2, Up: true, Running: true, V4: true, V6: true},
				{Name: "lan0", Index: 3, Up: true, Running: true, V4: true, V6: true},
			},
			Defaults: []policy.KernelRoute{{Family: gateway.V4, Hops: []policy.Hop{hop}}},
		},
	}
}

func (f *fakeSystem) system() system {
	return system{
		kernel: (*fakeKernel)(f), routing: (*fakeRouting)(f), devices: (*fakeDevices)(f), close: func() {},
		watch: func(ctx context.Context, changed func(policy.Kind)) error {
			<-f.begun
			changed(policy.Lost)
			for {
				select {
				case k := <-f.events:
					changed(k)
				case <-ctx.Done():
					return nil
				}
			}
		},
		prober: func(deliver func(group.Result)) prober { f.probes.f, f.probes.deliver = f, deliver; return &f.probes },
		cutFlows: func(member, group gateway.Mark) (int, error) {
			f.step("cut flows of %s that %s gave", member, group)
			return 1, nil
		},
		deleteFlows: func(m gateway.Mark) (int, error) {
			f.step("delete flows %s", m)
			return 1, nil
		},
	}
}

func (f *fakeSystem) step(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stepLocked(format, args...)
}

func (f *fakeSystem) stepLocked(format string, args ...any) {
	f.steps = append(f.steps, fmt.Sprintf(format, args...))
}

// taken returns the steps since the last call.
func (f *fakeSystem) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	steps := f.steps
	f.steps = nil
	return steps
}

// readCount returns how often the kernel was read.
func (f *fakeSystem) readCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads
}

// change changes the system when all that is due now has been done: what is due at the same
// moment would see it, or not.
func (f *fakeSystem) change(do func()) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// fail has an operation fail from now on; nil ends that.
func (f *fakeSystem) fail(operation string, err error) {
	f.change(func() { f.failures[operation] = err })
}

func (f *fakeSystem) want(what string, steps ...string) {
	f.t.Helper()
	synctest.Wait()
	if got := f.taken(); !slices.Equal(got, steps) {
		f.t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(steps, "\n"))
	}
}

// fakeProber sends nothing.
type fakeProber struct {
	f       *fakeSystem
	deliver func(group.Result)
	routes  []probe.Route
}

func (p *fakeProber) Set(_ context.Context, routes []probe.Route) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	p.routes = routes
}

func (p *fakeProber) Targets(route string) []netip.Addr {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	for _, r := range p.routes {
		if r.Name == route {
			return []netip.Addr{r.Probing.Probes[0].Addr}
		}
	}
	return nil
}

func (p *fakeProber) Stop() { p.Set(context.Background(), nil) }

type fakeKernel fakeSystem

func (f *fakeKernel) Read(*gateway.Config) (policy.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	in := f.inputs
	in.Links = slices.Clone(in.Links)
	return policy.Snapshot{Inputs: in, State: f.state}, nil
}

func (f *fakeKernel) Diversions(*gateway.Config) ([]policy.Diversion, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.diversions, f.failures["diversions"]
}

type fakeRouting fakeSystem

// Apply writes down the tables that have a default now, and those that only block.
func (f *fakeRouting) Apply(have, want policy.State) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.failures["route"]; err != nil {
		return nil, err
	}
	want.Sysctls, want.Waiting = nil, nil
	if want.String() == f.state.String() {
		return nil, nil
	}
	f.state = want
	tables := map[int]string{}
	for _, r := range want.KernelRoutes {
		if r.Unreachable && tables[r.Table] == "" {
			tables[r.Table] = "blocked"
		} else if r.Dst.IsValid() {
			tables[r.Table] = "blocked but for " + r.Dst.Addr().String()
		} else if !r.Unreachable {
			tables[r.Table] = "via " + strings.Join(r.Links(), ", ")
		}
	}
	var words []string
	for table, what := range tables {
		words = append(words, fmt.Sprintf("%d %s", table, what))
	}
	slices.Sort(words)
	(*fakeSystem)(f).stepLocked("route: %s", strings.Join(words, "; "))
	if f.applied != nil {
		f.applied()
	}
	return []string{"route"}, nil
}

func (f *fakeRouting) Forward(links ...string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.forwards {
		return nil, nil
	}
	f.forwards = true
	(*fakeSystem)(f).stepLocked("forward")
	return []string{"forward"}, nil
}

func (f *fakeRouting) Remove() ([]string, error) {
	(*fakeSystem)(f).step("remove routes")
	return nil, nil
}

type fakeDevices fakeSystem

func (f *fakeDevices) Open(link string, _ wg.Options) (*openDevice, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	(*fakeSystem)(f).stepLocked("open %s", link)
	if err := f.failures["open"]; err != nil {
		return nil, err
	}
	d := &fakeDevice{f: (*fakeSystem)(f), link: link, gone: make(chan struct{}), status: wg.Status{LinkUp: true, Peers: f.peers}}
	f.devices[link] = d
	f.links = append(f.links, wg.Link{Name: link})
	f.inputs.Links = append(f.inputs.Links, policy.Link{Name: link, Index: 9, Up: true, Direct: true, V4: true, V6: true})
	return &openDevice{device: d, handshakes: d, gone: d.gone}, nil
}

func (f *fakeDevices) Links() ([]wg.Link, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.links), nil
}

func (f *fakeDevices) Remove(link string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	(*fakeSystem)(f).stepLocked("remove %s", link)
	f.links = slices.DeleteFunc(f.links, func(l wg.Link) bool { return l.Name == link })
	f.inputs.Links = slices.DeleteFunc(f.inputs.Links, func(l policy.Link) bool { return l.Name == link })
	return nil
}

// fakeDevice is a WireGuard interface.
type fakeDevice struct {
	f      *fakeSystem
	link   string
	gone   chan struct{}
	closed sync.Once
	status wg.Status
}

func (d *fakeDevice) Apply(w wg.Want) ([]string, error) {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	if err := d.f.failures["mark"]; err != nil {
		return nil, err
	}
	if d.status.FirewallMark == w.FirewallMark {
		return nil, d.f.failures["configure"]
	}
	d.status.FirewallMark = w.FirewallMark
	d.f.stepLocked("configure %s with mark %#x", d.link, w.FirewallMark)
	return []string{"fwmark"}, d.f.failures["configure"]
}

func (d *fakeDevice) Status() (wg.Status, error) {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	s := d.status
	s.Peers = slices.Clone(s.Peers)
	return s, nil
}

// set changes the device's counters.
func (d *fakeDevice) set(change func(*wg.Status)) { d.f.change(func() { change(&d.status) }) }

func (d *fakeDevice) KeepTrying(on bool) error {
	d.f.step("keep %s trying: %v", d.link, on)
	return nil
}

func (d *fakeDevice) ResetEndpoints() { d.f.step("reset endpoints of %s", d.link) }

func (d *fakeDevice) Close() {
	d.f.step("close %s", d.link)
	d.end()
}

func (d *fakeDevice) end() { d.closed.Do(func() { close(d.gone) }) }

// fakeRun is a controller that runs on a fakeSystem.
type fakeRun struct {
	*Controller
	*fakeSystem
	cfg  *gateway.Config
	conf string // path of the provider's file
	log  *bytes.Buffer
	end  chan error
	stop func()
}

const goodConf = `[Interface]
PrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=
Address = 10.8.0.2/32, fd00:8::2/128
[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = 192.0.2.9:51820
`

// runFake runs a controller in a bubble of testing/synctest: one WireGuard route, table
// 7201, and the WAN, table 7327.
func runFake(t *testing.T, change func(f *fakeRun, o *Options)) *fakeRun {
	t.Helper()
	dir := t.TempDir()
	r := &fakeRun{fakeSystem: newFakeSystem(t), conf: filepath.Join(dir, "wg0.conf"), log: &bytes.Buffer{}, end: make(chan error, 1)}
	r.provide(goodConf)
	cfg := &gateway.Config{File: "gateway.yaml", LAN: []string{"lan0"}, Mask: gateway.DefaultMask, Priority: gateway.DefaultPriority}
	cfg.Routes = []gateway.Route{{
		Name: "vpn", Number: 1, Mark: cfg.Mask.Mark(1), Table: gateway.DefaultTable + 1, Priority: cfg.Priority + 1,
		Egress: gateway.Egress{Kind: gateway.EgressWireGuard, File: r.conf, Link: "wg0"},
	}}
	r.cfg = cfg
	o := Options{Config: cfg, State: dir, Log: slog.New(slog.NewTextHandler(r.log, nil))}
	if change != nil {
		change(r, &o)
	}
	r.Controller = newController(o, r.fakeSystem.system())
	r.begun = r.Ready()
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = sync.OnceFunc(func() {
		cancel()
		synctest.Wait()
		if err := <-r.end; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	go func() { r.end <- r.Run(ctx) }()
	t.Cleanup(r.stop)
	return r
}

func (r *fakeRun) provide(text string) {
	if err := os.WriteFile(r.conf, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *fakeRun) route(name string) RouteStatus {
	r.t.Helper()
	synctest.Wait()
	s, ok := r.Status().Route(name)
	if !ok {
		r.t.Fatalf("no status of route %s", name)
	}
	return s
}

func (r *fakeRun) device() *fakeDevice {
	synctest.Wait()
	r.fakeSystem.mu.Lock()
	defer r.fakeSystem.mu.Unlock()
	return r.fakeSystem.devices["wg0"]
}
