package dataplane

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
)

// fullAgain is for how long a set must not have been full before it is reported again.
const fullAgain = 10 * time.Minute

// pressure reports full sets, and tells the kernel's side which elements may be reclaimed.
type pressure struct {
	log   *slog.Logger
	full  logonce.Every
	grace atomic.Int64 // the shortest grace that was in force
}

// onFull handles a set that is full.
func (p *pressure) onFull(f learned.Full) {
	setFull.WithLabelValues(f.Set.Name).Inc()
	setReclaimed.WithLabelValues(f.Set.Name).Add(float64(f.Reclaimed))
	if ok, _ := p.full.Allow(f.Set.String()); ok {
		p.log.Error("set is full: addresses that no valid answer holds are reclaimed, and where there are none, new names of its route get SERVFAIL; a larger set_size in gateway.yaml helps", "set", f.Set.String(), "size", f.Size)
	}
}

// setGrace notes a configuration. What was promised under a shorter grace still holds when
// a longer one is in force.
func (p *pressure) setGrace(cfg *gateway.Config) {
	if old := p.grace.Load(); old == 0 || int64(cfg.Lifetime.Grace) < old {
		p.grace.Store(int64(cfg.Lifetime.Grace))
	}
}

// reclaimable returns by how much an element outlives each answer that holds its address: see
// gateway.Lifetime.Of.
func (p *pressure) reclaimable() time.Duration { return time.Duration(p.grace.Load() / 2) }
