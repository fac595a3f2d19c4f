// Package filewatch reports when files may have changed.
//
// It watches directories, not files, so that files that are replaced by rename, deleted
// and created again, or reached through symbolic links that are swapped are all seen.
// Polling covers what the kernel does not report: network file systems, files that are
// mounted over, a limit on inotify watches.
package filewatch

import (
	"context"
	"fmt"
	"time"

	"github.com/fsnotify/fsnotify"
)

// maxSettles bounds how long a file that never settles can delay a check, as a multiple
// of the settle time.
const maxSettles = 20

// Options say what is watched. Files, Settle, Poll and Warn must be set.
type Options struct {
	// Files returns the files to watch. It is called before each check, so the files may
	// differ from call to call; they need not exist.
	Files func() []string
	// Settle is how long no further event must arrive before an event leads to a check:
	// a writer may empty a file first and fill it then.
	Settle time.Duration
	// Poll is the interval of checks without an event.
	Poll time.Duration
	// Recheck asks for a check as an event does. It may be nil.
	Recheck <-chan struct{}
	// Warn receives the reasons why changes are found only by polling.
	Warn func(error)
}

// Run calls check once, and again when one of the files may have changed, until ctx ends.
// Directories are watched before check is called: a change that a check does not see leads
// to another one. Files, Warn and check are called from one goroutine.
func Run(ctx context.Context, o Options, check func()) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		o.Warn(fmt.Errorf("inotify: %w", err))
		run(ctx, o, nil, nil, nil, check) // nil channels never deliver
		return
	}
	defer w.Close() // there is nothing to lose
	run(ctx, o, w.Events, w.Errors, newDirs(w), check)
}

func run(ctx context.Context, o Options, events <-chan fsnotify.Event, errs <-chan error, d *dirs, check func()) {
	watchAndCheck := func() {
		if d != nil {
			for _, err := range d.watch(o.Files()) {
				o.Warn(err)
			}
		}
		check()
	}
	watchAndCheck()

	poll := time.NewTicker(o.Poll)
	defer poll.Stop()
	settled := time.NewTimer(0)
	<-settled.C
	var deadline time.Time // of the check that is due; zero if none is
	scheduleCheck := func() {
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(maxSettles * o.Settle)
		}
		settled.Reset(min(o.Settle, deadline.Sub(now)))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			scheduleCheck()
		case err := <-errs: // the queue overflowed, for example: anything may have changed
			o.Warn(fmt.Errorf("events were lost: %w", err))
			scheduleCheck()
		case <-o.Recheck:
			scheduleCheck()
		case <-settled.C:
			deadline = time.Time{}
			watchAndCheck()
		case <-poll.C:
			watchAndCheck()
		}
	}
}
