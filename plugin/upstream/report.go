package upstream

import (
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// latencyWeight is the reciprocal of the weight of a new sample in the smoothed latency:
// 1/8, as for TCP's round-trip time (RFC 6298, section 2.3).
const latencyWeight = 8

// traffic counts a pool's queries and answers for `nameroute status`. The metrics count
// the same by label, over every resolver since the process started.
type traffic struct {
	asked, answered atomic.Uint64
	latency         atomic.Int64 // smoothed, in nanoseconds
	last            atomic.Int64 // Unix nanoseconds of the last answer
}

// heard records an answer. Of two concurrent calls one may be lost from the latency.
func (t *traffic) heard(took time.Duration) {
	t.last.Store(time.Now().UnixNano())
	if t.answered.Add(1) == 1 {
		t.latency.Store(int64(took))
		return
	}
	old := t.latency.Load()
	t.latency.Store(old + (int64(took)-old)/latencyWeight)
}

// report returns the status of the resolvers in use.
func (u *Upstream) report() []instance.UpstreamStatus {
	if !u.ready.Load() {
		return nil
	}
	t := u.targets()
	all := make([]instance.UpstreamStatus, 0, len(t.resolvers))
	for _, r := range t.resolvers {
		s := instance.UpstreamStatus{
			Route: u.opts.route, Address: r.name, Healthy: !r.health.unhealthy.Load(), Fallback: t.fallback,
		}
		for _, p := range []*pool{r.udp, r.tcp} {
			m := &p.metrics.traffic
			s.Asked += m.asked.Load()
			s.Answered += m.answered.Load()
			if at := m.last.Load(); at != 0 && !time.Unix(0, at).Before(s.LastSeen) {
				s.LastSeen, s.Latency = time.Unix(0, at), time.Duration(m.latency.Load())
			}
		}
		all = append(all, s)
	}
	return all
}
