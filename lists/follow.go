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

// WatchFiles calls look once, and again when one of the files may have changed, until
// ctx ends: settle after the last of a burst of notices, and every poll for those that
// were missed. It watches folders, as Library.Watch does; files is asked before each
// look which they are now. warn is told what could not be watched. Neither is ever
// called while the other runs.
func WatchFiles(ctx context.Context, files func() []string, settle, poll time.Duration, warn func(what string, err error), look func()) {
	w := notices(warn)
	defer stop(w)
	f := follower{files: files, settle: settle, poll: poll, warn: warn, look: look}
	f.run(ctx, w)
}

// notices opens a watcher, or one that never delivers.
func notices(warn func(what string, err error)) *fsnotify.Watcher {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		warn("no notices of changed files, polling only", err)
		return &fsnotify.Watcher{} // nil channels never deliver
	}
	return w
}

func stop(w *fsnotify.Watcher) {
	if w.Events != nil {
		_ = w.Close() // it has nothing to lose
	}
}

// follower looks at files as they change.
type follower struct {
	files        func() []string
	again        <-chan struct{} // tells that the files are others
	settle, poll time.Duration
	warn         func(what string, err error)
	look         func()
}

func (o *follower) run(ctx context.Context, w *fsnotify.Watcher) {
	f := folders{watcher: w, seen: map[string]os.FileInfo{}}
	follow := func() {
		if err := f.follow(o.files()); err != nil {
			o.warn("a folder is not watched, only polled", err)
		}
	}
	// A folder that is new is watched before it is looked into, or what changes
	// between the two would be missed.
	look := func() {
		follow()
		o.look()
	}
	look()

	poll := time.NewTicker(o.poll)
	defer poll.Stop()
	settled := time.NewTimer(0)
	<-settled.C
	var deadline time.Time // of a look that is due; zero where none is
	changed := func() {
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(maxSettles * o.settle)
		}
		settled.Reset(min(o.settle, deadline.Sub(now)))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.Events:
			changed()
		case err := <-w.Errors: // an overflow among them: anything may have changed
			o.warn("notices of changed files were lost", err)
			changed()
		case <-o.again:
			follow()
			changed()
		case <-settled.C:
			deadline = time.Time{}
			look()
		case <-poll.C:
			look()
		}
	}
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
