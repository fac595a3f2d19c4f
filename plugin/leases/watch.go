package leases

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/filewatch"
)

const (
	// settle is the quiet after a change before the files are read: dnsmasq truncates its
	// file and writes it again.
	settle = 100 * time.Millisecond
	// poll finds changes for which no event came.
	poll = 30 * time.Second
)

// watch reads the files again as they change, until ctx ends.
func (l *Leases) watch(ctx context.Context) {
	var paths []string
	for _, f := range l.files {
		paths = append(paths, f.path)
	}
	filewatch.Run(ctx, filewatch.Options{
		Files: func() []string { return paths }, Settle: settle, Poll: poll,
		Warn: func(err error) { log.Warningf("files cannot be watched, polling them every %v: %v", poll, err) },
	}, l.read)
}

// read reads the files that have changed and replaces the book. The error of a file is
// logged once, and its last good content stays.
func (l *Leases) read() {
	changed := false
	var all []entry
	for _, f := range l.files {
		before := f.stats
		updated, err := f.read(l.suffix)
		changed = changed || updated
		if updated || !sameStats(before, f.stats) {
			l.report(f, err, updated)
		}
		all = append(all, f.entries...)
		entries.WithLabelValues(f.path).Set(float64(len(f.entries)))
	}
	if changed {
		l.book.Store(newBook(all, l.now().Unix()))
	}
}

// report logs the error of a file when it changes or ends. updated says that the rest of
// the file's content is in use.
func (l *Leases) report(f *file, err error, updated bool) {
	if f.optional && errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	f.err = err
	changed, ended := l.problems.Error(f.path, err)
	switch {
	case ended:
		log.Infof("%s is readable again", f.path)
	case !changed:
	case updated:
		log.Warningf("%v", err)
	case errors.Is(err, fs.ErrNotExist) && f.entries == nil:
		log.Warningf("%v: waiting for it", err)
	default:
		log.Warningf("%v (leases read before stay until they expire)", err)
	}
}
