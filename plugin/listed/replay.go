package listed

import (
	"time"

	"github.com/nameroute/nameroute/plugin/pkg/replay"
)

// record has an answer be given again from memory only while the names that it leads to are
// aliases for as long as an answer with what is left of the TTL needs: else they would be
// added again.
func (w *writer) record(targets, lists []string, ttl time.Duration) {
	if w.recording == nil || len(targets) == 0 {
		return
	}
	all, life := w.listed.aliases, w.listed.source.Config().Lifetime
	w.recording.Check(func(spent uint32) bool {
		need, _ := life.Of(min(ttl-time.Duration(spent)*time.Second, life.MaxTTL()))
		for _, t := range targets {
			if !all.Covers(t, lists, need) {
				return false
			}
		}
		return true
	})
	named := aliasNames.WithLabelValues(w.listed.view)
	w.recording.Count(func(replay.Hit) { named.Add(float64(len(targets))) })
}
