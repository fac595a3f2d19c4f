package probe

import (
	"context"
	"net/http"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
)

// Route is what probes are sent through.
type Route struct {
	Name      string
	Mark      gateway.Mark
	Probing   gateway.Probing
	Link      string           // that its packets leave by; "": several, or not known
	Closed    string           // why nothing can leave through it; "": it can
	Resolvers []netip.AddrPort // of its own: of probes that name none
	Handshake Handshake
}

// Handshake is what is known of a tunnel's handshakes.
type Handshake struct {
	State  HandshakeState
	Reason string // why it is not good
}

// HandshakeState is whether a tunnel's last handshake says that its peer is there.
type HandshakeState int

// A route without a tunnel has no handshakes, and those of a tunnel say nothing while no packet
// was sent that needs an answer.
const (
	HandshakeUnknown HandshakeState = iota
	HandshakeGood
	HandshakeBad
)

const (
	// maxTimeout is how long a round of probes waits for its answers at most. With an interval
	// below 1.7 s it is three fifths of that, and after a failed round the next one starts
	// so much sooner: with three rounds to fail, a silent route is noticed within three
	// intervals.
	maxTimeout = time.Second
	// maxSockets bounds the probes that wait for answers at the same time.
	maxSockets = gateway.MaxMembers * gateway.MaxProbes
)

func hurried(every time.Duration) time.Duration { return every * 3 / 5 }

// Timeout returns how long a round waits for its answers.
func Timeout(every time.Duration) time.Duration { return min(hurried(every), maxTimeout) }

// Prober sends probes through routes. Its methods may be called by several goroutines.
type Prober struct {
	deliver func(group.Result)
	slots   chan struct{}

	running sync.WaitGroup

	mu      sync.Mutex
	workers map[string]*worker
}

// New returns a Prober that hands the result of each round to deliver, from goroutines of its
// own. Results of a route that Set has removed may still come.
func New(deliver func(group.Result)) *Prober {
	return &Prober{deliver: deliver, slots: make(chan struct{}, maxSockets), workers: map[string]*worker{}}
}

// Set replaces the routes. Those without probes are left out; rounds through those that stay
// continue. What it starts ends with ctx, or with Stop. Nothing may be sent through a route before
// its policy rule is in place, nor after that is gone.
func (p *Prober) Set(ctx context.Context, routes []Route) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stay := map[string]bool{}
	for _, r := range routes {
		if len(r.Probing.Probes) == 0 {
			continue
		}
		stay[r.Name] = true
		if w := p.workers[r.Name]; w != nil {
			w.set(r)
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		w := &worker{prober: p, route: r, end: cancel, changed: make(chan struct{}, 1), hosts: map[string]*host{}}
		w.http = w.client()
		p.workers[r.Name] = w
		p.running.Go(func() { w.run(ctx) })
	}
	for name, w := range p.workers {
		if !stay[name] {
			w.end()
			delete(p.workers, name)
		}
	}
}

// Stop ends all probes and waits for that. Set must not be called at the same time.
func (p *Prober) Stop() {
	p.Set(context.Background(), nil)
	p.running.Wait()
}

// Targets returns the addresses that the probes of a route are sent to. A route that is down
// because of its probes must still reach them.
func (p *Prober) Targets(route string) []netip.Addr {
	p.mu.Lock()
	w := p.workers[route]
	p.mu.Unlock()
	if w == nil {
		return nil
	}
	return w.targets()
}

// worker sends the probes of one route.
type worker struct {
	prober  *Prober
	end     context.CancelFunc
	changed chan struct{} // capacity 1: what probes find may be otherwise now
	http    *http.Client

	mu    sync.Mutex
	route Route
	hosts map[string]*host // of the URLs
}

func (w *worker) set(r Route) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.route
	w.route = r
	if (before.Closed == "") != (r.Closed == "") || before.Link != r.Link || before.Handshake.State != r.Handshake.State || !reflect.DeepEqual(before.Probing, r.Probing) {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

func (w *worker) current() Route {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.route
}

// run sends a round at each interval. A round never begins before the last one has ended.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		began, r := time.Now(), w.current()
		result := w.round(ctx, r)
		if ctx.Err() != nil {
			return
		}
		w.prober.deliver(result)
		pause := r.Probing.Every
		if !result.OK && !result.Unknown {
			pause = hurried(pause)
		}
		next := time.NewTimer(time.Until(began.Add(pause)))
		select {
		case <-ctx.Done():
		case <-w.changed:
		case <-next.C:
		}
		next.Stop()
	}
}
