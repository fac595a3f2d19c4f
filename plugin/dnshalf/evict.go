package dnshalf

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

const (
	// movedFor is how long the far host of a moved flow is not heard by the WAN: longer
	// than TCP sends a segment again (net.ipv4.tcp_retries2: 15.4 min).
	movedFor = 16 * time.Minute
	// evictPause is the least time between two looks at all connections. Where they take
	// more than evictBurst, they are evictShare times as long apart, which bounds what
	// they cost.
	evictPause = 20 * time.Millisecond
	evictBurst = 250 * time.Millisecond
	evictShare = 5
	// evictLooks bounds how often it is looked again for what began meanwhile.
	evictLooks = 3
)

// evictor moves flows to the routes with `evict: true` that their addresses join: it ends
// those that have no route, being older, so that their next packet takes the new one.
// What joins is noted by whoever learns or applies, and one goroutine looks at the
// connections once for all that was noted. Flows that have a route keep it.
type evictor struct {
	kernel *nft.Kernel
	down   func(route string) bool // new flows do not take the route now
	kick   chan struct{}

	mu     sync.Mutex
	routes map[string]*evicting
	kept   ranges // never rerouted
	all    bool   // nothing is known to have been looked at
}

// ranges are those of IPv4 and of IPv6.
type ranges [2][]nft.Range

func (r *ranges) has(a netip.Addr) bool {
	if a.Is4() {
		return nft.Within(r[0], a)
	}
	return nft.Within(r[1], a)
}

// evicting is one route that flows are moved to. What the ranges hold is never changed.
type evicting struct {
	route   gateway.Route
	covered ranges              // by its lists
	looked  ranges              // covered when connections were last looked at
	joined  map[netip.Addr]bool // learned since
}

// fresh reports whether something has joined that was not looked at.
func (e *evicting) fresh() bool {
	return len(e.joined) > 0 || !slices.Equal(e.covered[0], e.looked[0]) || !slices.Equal(e.covered[1], e.looked[1])
}

// took reports whether an address has joined.
func (e *evicting) took(a netip.Addr) bool {
	if firewall.IsSpecial(a) && !e.route.Private {
		return false
	}
	return e.joined[a] || e.covered.has(a) && !e.looked.has(a)
}

func newEvictor(k *nft.Kernel, down func(route string) bool) *evictor {
	return &evictor{kernel: k, down: down, kick: make(chan struct{}, 1), routes: map[string]*evicting{}}
}

func (e *evictor) soon() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// learned notes addresses that a route has just learned.
func (e *evictor) learned(route string, addrs []netip.Addr) {
	if len(addrs) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.routes[route]; r != nil { // else applied will find them
		for _, a := range addrs {
			r.joined[a.Unmap()] = true
		}
		e.soon()
	}
}

// applied notes what the table that is in force covers. To a route that did not evict
// before, all that it has joins now: at a start, flows may be older than all of it.
func (e *evictor) applied(s firewall.Spec) {
	routes := map[string]*evicting{}
	for _, r := range s.Config.Routes {
		if r.Evict {
			routes[r.Name] = &evicting{route: r, covered: ranges{nft.Merge(s.Prefixes[r.Name], gateway.V4), nft.Merge(s.Prefixes[r.Name], gateway.V6)}}
		}
	}
	kept := ranges{s.Excluded(gateway.V4), s.Excluded(gateway.V6)}
	e.mu.Lock() // which those who learn wait for: nothing long from here on
	defer e.mu.Unlock()
	old := e.routes
	e.routes, e.kept = routes, kept
	for name, now := range routes {
		if was := old[name]; was != nil {
			now.looked, now.joined = was.looked, was.joined
		} else {
			now.joined = e.everything(now.route)
		}
		if now.fresh() {
			e.soon()
		}
	}
}

// lost notes that the table was not in force for a while: flows have begun without it.
func (e *evictor) lost() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = len(e.routes) > 0
	if e.all {
		e.soon()
	}
}

// everything is what a route has learned.
func (e *evictor) everything(r gateway.Route) map[netip.Addr]bool {
	all, pair := map[netip.Addr]bool{}, firewall.Pair(r)
	for _, set := range []nft.SetRef{pair.Set4, pair.Set6} {
		for _, el := range e.kernel.Learned(set) {
			all[el.Addr] = true
		}
	}
	return all
}

// run moves flows until ctx ends.
func (e *evictor) run(ctx context.Context) {
	var spent time.Duration // in looks, less what was waited
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.kick:
		}
		began := time.Now()
		spent = max(0, spent-began.Sub(last)/evictShare)
		wait := evictPause
		if err := e.evict(ctx, e.take()); err != nil {
			if ctx.Err() == nil {
				log.Warningf("flows to addresses that joined a route stay where they are: %v; trying again", err)
			}
			e.lost()
			wait = retryAfter
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

// work is what a look at the connections is for.
type work struct {
	routes []evicting
	kept   ranges
}

// take hands out what has joined, which counts as looked at from here on.
func (e *evictor) take() work {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := work{kept: e.kept}
	for _, r := range e.routes {
		if e.all {
			r.looked, r.joined = ranges{}, e.everything(r.route)
		}
		if !r.fresh() {
			continue
		}
		w.routes = append(w.routes, *r)
		r.looked, r.joined = r.covered, map[netip.Addr]bool{}
	}
	e.all = false
	w.routes = slices.DeleteFunc(w.routes, func(r evicting) bool { return e.down(r.route.Name) })
	return w
}

// route is the one that a flow is to be moved to; nil leaves it alone. A destination that
// somebody translates counts as well as what it is translated to.
func (w *work) route(f conntrack.Flow) *evicting {
	if w.kept.has(f.Dst) || w.kept.has(f.To) {
		return nil
	}
	for i := range w.routes {
		if r := &w.routes[i]; r.took(f.Dst) {
			return r
		}
	}
	return nil
}

// evict ends the flows that work is about. Their far hosts are noted before, so that
// nothing is said to them any more. New flows are not met: they have the route's mark.
func (e *evictor) evict(ctx context.Context, w work) error {
	if len(w.routes) == 0 {
		return nil
	}
	none := gateway.Mark{Mask: w.routes[0].route.Mark.Mask}
	moved := map[string]int{}
	for range evictLooks {
		far := map[netip.Addr]bool{}
		err := conntrack.Walk(none, func(f conntrack.Flow) {
			if w.route(f) != nil {
				far[f.Dst] = true
			}
		})
		if err != nil || len(far) == 0 {
			report(moved)
			return err
		}
		addrs := make([]netip.Addr, 0, len(far))
		for a := range far {
			addrs = append(addrs, a)
		}
		for part := range slices.Chunk(addrs, justifyBatch) {
			if err := e.kernel.Learn(ctx, firewall.EvictedPair(), part, movedFor-time.Minute, movedFor); err != nil {
				return err
			}
		}
		if _, err := conntrack.Delete(none, func(f conntrack.Flow) bool {
			r := w.route(f)
			if r == nil || !far[f.Dst] {
				return false
			}
			moved[r.route.Name]++
			return true
		}); err != nil {
			return err
		}
	}
	report(moved)
	return nil
}

var movedFlows = promauto.NewCounterVec(prometheus.CounterOpts{
	Namespace: plugin.Namespace,
	Subsystem: "route",
	Name:      "moved_flows_total",
	Help:      "Counter of flows that were moved to a route which their addresses had joined.",
}, []string{"route"})

func report(moved map[string]int) {
	for route, n := range moved {
		movedFlows.WithLabelValues(route).Add(float64(n))
		log.Infof("route %s: %d flows to addresses that joined it are moved to it", route, n)
	}
}
