package dataplane

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

const (
	// evictedFor is how long the far host of an evicted flow is not heard via the WAN:
	// longer than TCP retransmits a segment (net.ipv4.tcp_retries2: 15.4 min).
	evictedFor = 16 * time.Minute
	// evictPause is the least time between two walks over all connections. Where they
	// take more than evictBurst, the pause is evictShare times as long, which bounds what
	// they cost.
	evictPause = 20 * time.Millisecond
	evictBurst = 250 * time.Millisecond
	evictShare = 5
	// evictWalks bounds how often the walk is repeated for what began meanwhile.
	evictWalks = 3
	// evictBatch bounds the addresses of one transaction, behind which an answer may wait.
	evictBatch = 250
)

// evictor resets flows to addresses that join a route with `evict: true`: older flows have
// no route, and their next packet takes the new one. What joins is noted by Admit and by
// each apply, and one goroutine walks over the connections once for all that was noted.
// Flows that have a route keep it. Where our table was not in force, flows have begun
// without it, and those to all that any route has are reset.
type evictor struct {
	c    *Controller
	kick chan struct{} // capacity 1

	mu       sync.Mutex
	routes   map[string]*joining
	excluded ranges // never rerouted
	uplinks  []gateway.Route
	all      bool // nothing is known to have been looked at
	gap      bool // nor on routes that do not evict
	again    recheck
}

func newEvictor(c *Controller) *evictor {
	return &evictor{c: c, kick: make(chan struct{}, 1), routes: map[string]*joining{}}
}

// onLearn notes addresses that a route has just learned.
func (e *evictor) onLearn(route string, addrs []netip.Addr) {
	if len(addrs) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.routes[route]; r != nil && r.route.Evict { // else onApply will find them
		for _, a := range addrs {
			r.learned[a.Unmap()] = true
		}
		wake(e.kick)
	}
}

// onApply notes what the table in force covers. To a route that did not evict before, all
// that it has joins now: at a start, flows may be older than all of it.
func (e *evictor) onApply(s firewall.Spec, to *destinations) {
	routes := map[string]*joining{}
	for _, r := range s.Config.Routes {
		routes[r.Name] = &joining{route: r, covered: to.covered(r.Name)}
	}
	e.mu.Lock() // Admit blocks on this lock; keep the section short
	defer e.mu.Unlock()
	old := e.routes
	e.routes, e.excluded, e.uplinks = routes, to.excluded, s.Config.Members(s.Config.WANRoute())
	for name, now := range routes {
		was := old[name]
		switch {
		case !now.route.Evict:
			now.looked = now.covered
		case was != nil && was.route.Evict:
			now.looked, now.learned, now.all = was.looked, was.learned, was.all
		default:
			now.learned, now.all = map[netip.Addr]bool{}, true
		}
		if now.fresh() {
			wake(e.kick)
		}
	}
}

// onGap notes that the table was not in force for a while: flows have begun without it.
func (e *evictor) onGap() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gap = true
	wake(e.kick)
}

// onError notes that an eviction has not looked at everything.
func (e *evictor) onError(w eviction) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all, e.gap = true, e.gap || w.gap
	wake(e.kick)
}

// everything returns all that a route has learned.
func (e *evictor) everything(r gateway.Route) map[netip.Addr]bool {
	all, pair := map[netip.Addr]bool{}, firewall.Pair(r)
	for _, set := range []nft.SetRef{pair.Set4, pair.Set6} {
		for _, el := range e.c.kernel.Learned(set) {
			all[el.Addr] = true
		}
	}
	return all
}

// run evicts flows until ctx ends.
func (e *evictor) run(ctx context.Context) {
	var spent time.Duration // in walks, less what was waited
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.kick:
		case <-e.recheckDue():
		}
		began := time.Now()
		spent = max(0, spent-began.Sub(last)/evictShare)
		wait := evictPause
		w := e.pending(began)
		err := e.evict(ctx, w)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			e.onError(w)
			wait = e.c.timers.Retry
		}
		switch began, ended := e.c.edge.Failing("reset flows", err); {
		case began:
			e.c.log.Warn("flows to newly routed addresses are not reset yet, trying again", "error", err)
		case ended:
			e.c.log.Info("flows to newly routed addresses are reset again")
		}
		last = time.Now()
		spent += last.Sub(began)
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(wait, evictShare*(spent-evictBurst))):
		}
	}
}

// recheckDue returns a channel that receives when something is to be looked at once more;
// nil where nothing is.
func (e *evictor) recheckDue() <-chan time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.again.at.IsZero() {
		return nil
	}
	return time.After(time.Until(e.again.at))
}

// begin returns which routes are looked at from the beginning, whether after a gap, and what
// those have learned of which all joins. That may be a whole set, which is read without the
// lock that Admit needs.
func (e *evictor) begin() (again map[string]bool, gap bool, learned map[string]map[netip.Addr]bool) {
	again, learned = map[string]bool{}, map[string]map[netip.Addr]bool{}
	var read []gateway.Route
	e.mu.Lock()
	for name, r := range e.routes {
		again[name] = e.gap || e.all && r.route.Evict
		if again[name] || r.all {
			read = append(read, r.route)
		}
		r.all = false
	}
	gap = e.gap
	e.all, e.gap = false, e.gap && len(e.routes) == 0
	e.mu.Unlock()
	for _, r := range read {
		learned[r.Name] = e.everything(r)
	}
	return again, gap, learned
}

// merged returns all of two sets, of which it may change the first.
func merged(a, b map[netip.Addr]bool) map[netip.Addr]bool {
	switch {
	case len(b) == 0:
		return a
	case len(a) == 0:
		return b
	}
	maps.Copy(a, b)
	return a
}

// pending returns what has joined, which counts as looked at from here on but for one
// more time, and what is due for that.
func (e *evictor) pending(now time.Time) eviction {
	again, gap, learned := e.begin()
	e.mu.Lock()
	defer e.mu.Unlock()
	w := eviction{excluded: e.excluded, gap: gap, uplinks: e.uplinks, byWAN: (&Route{c: e.c, name: gateway.WAN}).Takes}
	for name, j := range e.again.take(now) {
		if r := e.routes[name]; r != nil { // else it has left gateway.yaml
			j.route, j.covered = r.route, r.covered
			w.routes = append(w.routes, j)
		}
	}
	for name, r := range e.routes {
		if again[name] {
			r.looked = ranges{}
		}
		r.learned = merged(r.learned, learned[name])
		if !r.fresh() {
			continue
		}
		w.routes = append(w.routes, *r)
		e.again.add(*r, now)
		r.looked, r.learned = r.covered, map[netip.Addr]bool{}
	}
	w.routes = slices.DeleteFunc(w.routes, func(r joining) bool { return e.c.fallsBack(r.route.Name) })
	return w
}

// evict deletes the flows that an eviction is about. Their far hosts are blocked before,
// so that nothing is sent to them any more. New flows are not affected: they have the
// route's mark.
func (e *evictor) evict(ctx context.Context, w eviction) error {
	if len(w.routes) == 0 {
		return nil
	}
	evicted := map[string]int{}
	defer func() { e.report(evicted) }()
	for range evictWalks {
		far := map[netip.Addr]bool{}
		err := w.walk(func(of gateway.Mark) error {
			return e.c.system.Flows(of, func(f conntrack.Flow) {
				if w.route(f) != nil {
					far[f.Dst] = true
				}
			})
		})
		if err != nil || len(far) == 0 {
			return err
		}
		addrs := make([]netip.Addr, 0, len(far))
		for a := range far {
			addrs = append(addrs, a)
		}
		hosts := firewall.EvictedPair()
		for part := range slices.Chunk(addrs, evictBatch) {
			if err := e.c.kernel.Ensure(ctx, &hosts, "", part, evictedFor-time.Minute, evictedFor); err != nil {
				return err
			}
		}
		err = w.walk(func(of gateway.Mark) error {
			deleted, err := e.c.system.DeleteFlows(of, func(f conntrack.Flow) bool { return far[f.Dst] && w.route(f) != nil })
			for _, f := range deleted {
				evicted[w.route(f).route.Name]++
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *evictor) report(evicted map[string]int) {
	for route, n := range evicted {
		evictedFlows.WithLabelValues(route).Add(float64(n))
		e.c.log.Info("reset flows to newly routed addresses", "route", route, "flows", n)
	}
}
