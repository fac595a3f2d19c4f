package lists

import (
	"context"

	"github.com/nameroute/nameroute/gateway/pkg/filewatch"
	"github.com/nameroute/nameroute/lists/format"
)

// Watch reloads lists when their files change, until ctx ends, and calls onSwap after each
// swap of the index that it makes. A list that became smaller is used after Options.Rest: its
// file may be incomplete. Only one Watch may run at a time.
func (l *Library) Watch(ctx context.Context, onSwap func()) {
	filewatch.Run(ctx, filewatch.Options{
		Files: l.files, Recheck: l.recheck, Settle: l.options.Settle, Poll: l.options.Poll,
		Warn: func(err error) {
			l.options.Log.Warn("files cannot be watched, changes are found by polling", "error", err)
		},
	}, func() {
		changed, _, fresh := l.reload(l.options.Rest, false)
		for _, err := range fresh {
			l.options.Log.Error("reload failed", "error", err)
		}
		if changed {
			l.options.Log.Info("reloaded", "names", l.Index().Len())
			onSwap()
		}
	})
}

func (l *Library) files() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	files := make([]string, len(l.holdings))
	for i, h := range l.holdings {
		files[i] = format.ParseSource(h.list.File).Path
	}
	return files
}
