package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// watchSettle is the quiet after a change before the files are read: an editor
	// writes more than once.
	watchSettle = 300 * time.Millisecond
	// watchPoll finds what no notice told of, as behind a link that was swapped.
	watchPoll = 30 * time.Second
)

// saw notes what lay there when the files were last read.
func (p *process) saw(sum digest) { p.seen.Store(&sum) }

// look asks for a reload where gateway.yaml, the Corefile or a file that it imports is
// another than when they were last read, right or wrong.
func (p *process) look() lying {
	l := p.o.lie(p.o.config, p.o.corefile, p.parts)
	if seen := p.seen.Load(); seen != nil && l.sum() != *seen {
		p.reloads.ask()
	}
	return l
}

// watchFiles looks whenever something happens beside the files. Lists and providers'
// files are watched by who reads them. It returns when ctx ends.
func (p *process) watchFiles(ctx context.Context) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		p.log.Warn("changed files are found by looking, each 30 s", "why", err)
		w = &fsnotify.Watcher{} // its nil channels never deliver
	} else {
		defer w.Close()
	}
	f := &folders{watcher: w, failed: func(err error) {
		p.log.Warn("changed files are found by looking, each 30 s", "why", err)
	}}
	look := func() { f.follow(p.folders(p.look())) }
	f.follow(p.folders(p.o.lie(p.o.config, p.o.corefile, p.parts)))
	look() // what changed before the folders were watched
	settled, poll := time.NewTimer(watchSettle), time.NewTicker(watchPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.Events:
			settled.Reset(watchSettle)
		case <-w.Errors: // notices were lost
			settled.Reset(watchSettle)
		case <-settled.C:
			look()
		case <-poll.C:
			look()
			if p.failing.Load() {
				p.reloads.retry() // what they name, such as a list, may be there by now
			}
		}
	}
}

// folders are those in which a change can change what the files hold: the folder, not
// the file, because editors replace the file by another one.
func (p *process) folders(l lying) []string {
	dirs := []string{filepath.Dir(p.o.config)}
	if !l.dns {
		return dirs
	}
	dirs = append(dirs, filepath.Dir(p.o.corefile))
	if l.text != nil {
		dirs = append(dirs, l.text.Dirs...)
		for _, f := range l.text.Files {
			dirs = append(dirs, filepath.Dir(f))
			if to, err := filepath.EvalSymlinks(f); err == nil {
				dirs = append(dirs, filepath.Dir(to))
			}
		}
	}
	return dirs
}

// folders keeps a watcher on folders.
type folders struct {
	watcher *fsnotify.Watcher
	watched map[string]os.FileInfo
	failed  func(error)
}

// follow adds folders that are not watched yet, or are others than before: a watch
// stays with the inode. Those that no file is in any more stay: a look more costs little.
func (f *folders) follow(dirs []string) {
	if f.watcher.Events == nil {
		return
	}
	if f.watched == nil {
		f.watched = map[string]os.FileInfo{}
	}
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil {
			delete(f.watched, dir)
			continue // it is looked for at each poll
		}
		if before := f.watched[dir]; before != nil && os.SameFile(before, info) {
			continue
		}
		f.watched[dir] = info
		if err := f.watcher.Add(dir); err != nil {
			f.failed(err)
		}
	}
}
