package lists

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	maxLinks = 40 // symbolic links followed from one file, as the kernel's MAXSYMLINKS
	// maxSettles bounds how long a file that never rests can put its reading off,
	// as a multiple of the settle time.
	maxSettles = 20
)

// Watch reloads lists when their files change, until ctx ends, and calls onSwap
// after each swap of the index that it makes itself. It watches folders, not files, so that files that
// are replaced by rename, deleted and made again, or reached through symbolic links
// that are swapped are all seen. A look at all files every Options.Poll makes up for
// notices that were missed. One Watch at a time.
func (l *Library) Watch(ctx context.Context, onSwap func()) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		l.options.Log.Warn("lists: no notices of changed files, polling only", "error", err)
		w = &fsnotify.Watcher{} // nil channels never deliver
	} else {
		defer w.Close()
	}
	l.watch(ctx, w, onSwap)
}

func (l *Library) watch(ctx context.Context, w *fsnotify.Watcher, onSwap func()) {
	f := folders{watcher: w, seen: map[string]os.FileInfo{}}
	follow := func() {
		if err := f.follow(l.files()); err != nil {
			l.options.Log.Warn("lists: a folder is not watched, only polled", "error", err)
		}
	}
	reload := func() {
		changed, _, fresh := l.reload()
		for _, err := range fresh {
			l.options.Log.Error("lists: reload", "error", err)
		}
		if changed {
			l.options.Log.Info("lists: reloaded", "names", l.Index().Len())
			onSwap()
		}
		follow()
	}
	follow()
	reload() // what changed before the folders were watched

	poll := time.NewTicker(l.options.Poll)
	defer poll.Stop()
	settled := time.NewTimer(0)
	<-settled.C
	var deadline time.Time // of a reload that is due; zero where none is
	changed := func() {
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(maxSettles * l.options.Settle)
		}
		settled.Reset(min(l.options.Settle, deadline.Sub(now)))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.Events:
			changed()
		case err := <-w.Errors: // an overflow among them: anything may have changed
			l.options.Log.Warn("lists: notices of changed files were lost", "error", err)
			changed()
		case <-l.lists:
			follow()
			changed()
		case <-settled.C:
			deadline = time.Time{}
			reload()
		case <-poll.C:
			reload()
		}
	}
}

func (l *Library) files() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	files := make([]string, len(l.holding))
	for i, h := range l.holding {
		files[i] = sourceOf(h.list.File).path
	}
	return files
}

// folders keeps the folders watched that a set of files depends on.
type folders struct {
	watcher *fsnotify.Watcher
	seen    map[string]os.FileInfo // what was there when it was added
}

// follow watches the folders of files, of the links on the way to them, and, where
// a folder is missing, the nearest one above it that exists. The error is about a
// folder that cannot be watched, and is returned once for each.
func (f *folders) follow(files []string) error {
	if f.watcher.Events == nil {
		return nil
	}
	want := map[string]bool{}
	var errs []error
	for _, file := range files {
		for _, dir := range foldersOf(file) {
			// Two names of one folder would share one inotify watch, and lose it together.
			dir, err := filepath.EvalSymlinks(existing(dir))
			if err != nil || want[dir] {
				continue // gone just now: the poll comes back to it
			}
			want[dir] = true
			errs = append(errs, f.add(dir))
		}
	}
	for dir := range f.seen {
		if !want[dir] {
			f.remove(dir)
		}
	}
	return errors.Join(errs...)
}

// add watches a folder, anew if another one has taken its place: a watch stays with
// the inode.
func (f *folders) add(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return nil // gone just now: the poll comes back to it
	}
	if before := f.seen[dir]; before != nil {
		if os.SameFile(before, info) {
			return nil
		}
		f.remove(dir)
	}
	f.seen[dir] = info
	if err := f.watcher.Add(dir); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	return nil
}

func (f *folders) remove(dir string) {
	delete(f.seen, dir)
	// The error is that there is no such watch any more, which is what we want.
	_ = f.watcher.Remove(dir)
}

// foldersOf lists the folders in which a change can change what a path leads to:
// those that hold the file and each symbolic link on the way to it.
func foldersOf(file string) (dirs []string) {
	for range maxLinks {
		dir := filepath.Dir(file)
		dirs = append(dirs, dir)
		if to, err := os.Readlink(file); err == nil {
			file = join(dir, to)
			continue
		}
		// A link among the folders, as Kubernetes' ..data.
		link, rest := linkAbove(dir)
		if link == "" {
			return dirs
		}
		to, err := os.Readlink(link)
		if err != nil {
			return dirs
		}
		file = filepath.Join(join(filepath.Dir(link), to), rest, filepath.Base(file))
		dirs = append(dirs, filepath.Dir(link))
	}
	return dirs
}

// linkAbove finds the symbolic link nearest to the root in a folder's path, and
// what follows it.
func linkAbove(dir string) (link, rest string) {
	for d := dir; d != filepath.Dir(d); d = filepath.Dir(d) {
		if info, err := os.Lstat(d); err == nil && info.Mode()&os.ModeSymlink != 0 {
			link = d
		}
	}
	if link == "" {
		return "", ""
	}
	rest, err := filepath.Rel(link, dir)
	if err != nil {
		return "", ""
	}
	return link, rest
}

func join(dir, to string) string {
	if filepath.IsAbs(to) {
		return to
	}
	return filepath.Join(dir, to)
}

// existing is the folder, or the nearest one above it that is there.
func existing(dir string) string {
	for dir != filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
