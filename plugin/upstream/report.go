package upstream

import (
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/plugin/dnshalf"
)

// latencyWeight is how much of an answer's time goes into the smoothed one, as its
// reciprocal: 1/8, as TCP takes for its round trip (RFC 6298, section 2.3).
const latencyWeight = 8

// traffic is what a pool has asked and heard, for `nameroute status`. The metrics
// count the same, but by label, and over every resolver there ever was.
type traffic struct {
	asked, answered atomic.Uint64
	latency         atomic.Int64 // smoothed, in nanoseconds
	last            atomic.Int64 // Unix nanoseconds of the last answer
}

// heard notes an answer. Two at once may lose the smoothing of one.
func (t *traffic) heard(took time.Duration) {
	t.last.Store(time.Now().UnixNano())
	if t.answered.Add(1) == 1 {
		t.latency.Store(int64(took))
		return
	}
	old := t.latency.Load()
	t.latency.Store(old + (int64(took)-old)/latencyWeight)
}

// report tells of the resolvers that are asked now, for snapshots.
func (u *Upstream) report() []dnshalf.UpstreamStatus {
	t := u.targets()
	all := make([]dnshalf.UpstreamStatus, 0, len(t.resolvers))
	for _, r := range t.resolvers {
		s := dnshalf.UpstreamStatus{
			Route: u.opts.route, Address: r.name, Healthy: !r.health.sick.Load(), Fallback: t.fallback,
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
