package lists

import (
	"context"

	"github.com/fsnotify/fsnotify"
)

// Watch reloads lists when their files change, until ctx ends, and calls onSwap
// after each swap of the index that it makes itself. It watches folders, not files, so
// that files that are replaced by rename, deleted and made again, or reached through
// symbolic links that are swapped are all seen. A look at all files every Options.Poll makes up for
// notices that were missed. A list that has become smaller is taken up after
// Options.Rest: its file may be in the middle of being written. One Watch at a time.
func (l *Library) Watch(ctx context.Context, onSwap func()) {
	w := notices(l.warn)
	defer stop(w)
	l.watch(ctx, w, onSwap)
}

func (l *Library) watch(ctx context.Context, w *fsnotify.Watcher, onSwap func()) {
	f := follower{
		files: l.files, again: l.lists, settle: l.options.Settle, poll: l.options.Poll,
		warn: l.warn,
		look: func() {
			changed, _, fresh := l.reload(l.options.Rest)
			for _, err := range fresh {
				l.options.Log.Error("lists: reload", "error", err)
			}
			if changed {
				l.options.Log.Info("lists: reloaded", "names", l.Index().Len())
				onSwap()
			}
		},
	}
	f.run(ctx, w)
}

func (l *Library) warn(what string, err error) { l.options.Log.Warn("lists: "+what, "error", err) }

func (l *Library) files() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	files := make([]string, len(l.holding))
	for i, h := range l.holding {
		files[i] = sourceOf(h.list.File).path
	}
	return files
}
