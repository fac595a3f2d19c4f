package leases

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/nameroute/nameroute/lists"
)

const (
	// settle is the quiet after a change before the files are read: dnsmasq empties
	// its file and writes it anew.
	settle = 100 * time.Millisecond
	// poll finds what no notice told of.
	poll = 30 * time.Second
)

// watch reads the files again as they change, until ctx ends.
func (l *Leases) watch(ctx context.Context) {
	var paths []string
	for _, f := range l.files {
		paths = append(paths, f.path)
	}
	lists.WatchFiles(ctx, func() []string { return paths }, settle, poll,
		func(what string, err error) { log.Warningf("%s: %v", what, err) }, l.read)
}

// read reads what has changed and swaps the book. What is wrong with a file is said
// once, and its last good content stays.
func (l *Leases) read() {
	changed := false
	var all []entry
	for _, f := range l.files {
		before := f.seen
		now, err := f.read(l.suffix)
		changed = changed || now
		if now || !sameLook(before, f.seen) {
			f.say(err, now)
		}
		all = append(all, f.entries...)
		entries.WithLabelValues(f.path).Set(float64(len(f.entries)))
	}
	if changed {
		l.book.Store(newBook(all, l.now().Unix()))
	}
}

// say logs what is wrong with the file where it is something new. taken is whether its
// content was taken up nevertheless.
func (f *file) say(err error, taken bool) {
	if f.optional && errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	said := ""
	if err != nil {
		said = err.Error()
	}
	switch {
	case said == f.said:
	case err == nil:
		log.Infof("%s is right again", f.path)
	case taken:
		log.Warningf("%v", err)
	case errors.Is(err, fs.ErrNotExist) && f.entries == nil:
		log.Warningf("%v: no names from there until it is", err)
	default:
		log.Warningf("%v (leases that were read before stay until they end)", err)
	}
	f.said = said
}
