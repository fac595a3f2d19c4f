package main

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
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

// watchFiles tells when gateway.yaml or the Corefile has other content than before.
// Lists and providers' files are watched by who reads them. It returns when ctx ends.
func (p *process) watchFiles(ctx context.Context, changed chan<- struct{}) {
	files := []string{p.o.config}
	if slices.Contains(p.parts, partDNS) {
		files = append(files, p.o.corefile)
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		p.log.Warn("changed files are found by looking, each 30 s", "why", err)
		w = &fsnotify.Watcher{} // its nil channels never deliver
	} else {
		defer w.Close()
		for _, f := range files {
			// The folder, not the file: editors replace the file by another one.
			if err := w.Add(filepath.Dir(f)); err != nil {
				p.log.Warn("changed files are found by looking, each 30 s", "why", err)
			}
		}
	}
	last := contents(files)
	settled, poll := time.NewTimer(0), time.NewTicker(watchPoll)
	<-settled.C
	defer poll.Stop()
	look := func() {
		if now := contents(files); now != last {
			last = now
			select {
			case changed <- struct{}{}:
			default: // one is due already
			}
		}
	}
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
		}
	}
}

// contents is what the files hold, as one sum. A file that is missing just now is
// left out: it is about to come back, and if not, what runs goes on.
func contents(files []string) [sha256.Size]byte {
	sum := sha256.New()
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		one := sha256.Sum256(b)
		sum.Write(one[:])
	}
	return [sha256.Size]byte(sum.Sum(nil))
}
