package resolvers

import (
	"context"
	"slices"
	"time"
)

const (
	// interval is how often the sources are read. They are few and small; inotify would
	// miss a file that is mounted over, as in a container, and a folder that does not
	// exist yet.
	interval = time.Second
	// settle is how long the sources must be unchanged: some programs truncate a file
	// first and write it then.
	settle = 50 * time.Millisecond
)

// A Watcher notices when the recorded resolvers change. It compares with what it read when it was
// made: make it before the first call of Find, so that no change between the two is missed.
type Watcher struct {
	root string // before every path, for tests
	seen []entry
}

// NewWatcher reads the sources as they are now.
func NewWatcher() *Watcher { return newWatcher("") }

func newWatcher(root string) *Watcher { return &Watcher{root: root, seen: readAll(root)} }

// Run calls changed, at most once a second, when other resolvers are recorded than
// before, whether a file was replaced, written in place, created or deleted. It returns
// when the context ends.
func (w *Watcher) Run(ctx context.Context, changed func()) {
	for sleep(ctx, interval) {
		now := readAll(w.root)
		if slices.Equal(now, w.seen) {
			continue
		}
		for sleep(ctx, settle) {
			again := readAll(w.root)
			if slices.Equal(again, now) {
				break
			}
			now = again
		}
		if ctx.Err() != nil {
			return
		}
		w.seen = now
		changed()
	}
}

func readAll(root string) []entry {
	b, err := read(root)
	if err != nil {
		return nil
	}
	for i := range b.entries {
		b.entries[i].line = 0 // a renewed lease is appended to the old ones and says the same
	}
	return b.entries
}

// sleep waits and reports whether the context has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
