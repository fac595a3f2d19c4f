package dnshalf

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

var (
	setFull = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: "route",
		Name:      "set_full_total",
		Help:      "Counter of the times that a set could not take an address, counted every 250 ms at most.",
	}, []string{"set"})
	madeRoom = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: "route",
		Name:      "made_room_total",
		Help:      "Counter of addresses that were taken out of a full set because no valid answer held them.",
	}, []string{"set"})
)

// pressure tells the operator that a set is full, and the kernel's side what may give way.
type pressure struct {
	mu    sync.Mutex
	heard map[nft.SetRef]time.Time // when the set was last full
	grace atomic.Int64             // the shortest grace that was in force
}

// quiet is for how long a set must not be full before that it is full is said again.
const quiet = 10 * time.Minute

// full hears that a set is full.
func (p *pressure) full(f nft.Full) {
	setFull.WithLabelValues(f.Set.Name).Inc()
	madeRoom.WithLabelValues(f.Set.Name).Add(float64(f.Room))
	if p.isNews(f.Set, time.Now()) {
		log.Errorf("set %s is full (%d addresses): addresses that nobody uses any more make room, and where there are none, new names of its route get SERVFAIL; a larger set_size in gateway.yaml helps", f.Set, f.Size)
	}
}

func (p *pressure) isNews(set nft.SetRef, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard == nil {
		p.heard = map[nft.SetRef]time.Time{}
	}
	last, before := p.heard[set]
	p.heard[set] = now
	return !before || now.Sub(last) > quiet
}

// inForce notes a configuration. What was promised under a shorter grace still holds
// when a longer one is in force.
func (p *pressure) inForce(cfg *gateway.Config) {
	if old := p.grace.Load(); old == 0 || int64(cfg.Lifetime.Grace) < old {
		p.grace.Store(int64(cfg.Lifetime.Grace))
	}
}

// spare is by how much an element outlives each answer that holds its address: see
// gateway.Lifetime.Of.
func (p *pressure) spare() time.Duration { return time.Duration(p.grace.Load() / 2) }
