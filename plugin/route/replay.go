package route

import (
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/plugin/pkg/replay"
)

// record has the answer be given again from memory only while the route is as it was, and the
// kernel has all addresses for as long as an answer with what is left of the TTL needs.
// Guarantees 1 and 2.
func (w *writer) record(a dataplane.Answer, ttl time.Duration, routed int) {
	if w.recording == nil {
		return
	}
	to, state := w.route.to, w.state
	a.Addrs = slices.Clone(a.Addrs[:routed])
	w.recording.Check(func(spent uint32) bool {
		again := a
		again.Need, _ = state.Lifetime.Of(ttl - time.Duration(spent)*time.Second)
		return to.State() == state && to.Admitted(again)
	})
	if routed > 0 {
		c := w.route.countersOf(&w.reason)
		w.recording.Count(func(replay.Hit) {
			c.learned.Inc()
			c.included.Add(float64(routed))
		})
	}
}
