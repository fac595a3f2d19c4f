package daemon

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/nameroute/nameroute/gateway/dataplane"
)

// reloads are the reloads that were asked for and have not begun. Whoever asks for one
// (SIGHUP, changed files, `nameroute reload`, CoreDNS's reload plugin), the main loop
// does it, one at a time; all who ask meanwhile share the next one.
type reloads struct {
	due chan struct{} // something is waiting

	mu      sync.Mutex
	waiting []chan<- error
	loud    bool  // somebody wants to know how it went
	closed  error // why there will be no more; nil while there will
}

func newReloads() *reloads { return &reloads{due: make(chan struct{}, 1)} }

// ask asks for a reload and returns where its end is told.
func (r *reloads) ask() <-chan error {
	done := make(chan error, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil {
		done <- r.closed
		return done
	}
	r.waiting, r.loud = append(r.waiting, done), true
	r.wake()
	return done
}

// retry asks for a reload of files that failed before: that they fail again is no news.
func (r *reloads) retry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed == nil {
		r.wake()
	}
}

func (r *reloads) wake() {
	select {
	case r.due <- struct{}{}:
	default: // one is due already
	}
}

// take empties the queue: all that waits is served by the reload that begins now.
func (r *reloads) take() (waiting []chan<- error, loud bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting, loud = r.waiting, r.loud
	r.waiting, r.loud = nil, false
	return waiting, loud
}

// close refuses what waits and what still comes.
func (r *reloads) close(why error) {
	r.mu.Lock()
	r.closed = why
	r.mu.Unlock()
	waiting, _ := r.take()
	tellAll(waiting, why)
}

func tellAll(waiting []chan<- error, err error) {
	for _, done := range waiting {
		done <- err
	}
}

// reloadNow asks for a reload and waits for its end.
func (p *process) reloadNow(ctx context.Context) error {
	select {
	case err := <-p.reloads.ask():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serveReload does what was asked for.
func (p *process) serveReload() {
	waiting, loud := p.reloads.take()
	err := p.reload()
	listsOnly := errors.Is(err, dataplane.ErrList)
	p.failing.Store(err != nil && !listsOnly)
	switch {
	case err == nil:
		p.log.Info("reload complete")
	case !loud: // it was said before
	case listsOnly:
		p.log.Error("reload complete, but a list keeps its last good content", "error", err)
	default:
		p.log.Error("reload failed, keeping the running configuration", "error", err)
	}
	if err != nil && loud {
		reloadFailed.Inc()
	}
	tellAll(waiting, err)
}

// reload reads the files and takes them up where all of them are right.
func (p *process) reload() error {
	p.changing.Lock()
	defer p.changing.Unlock()
	if p.ending.Load() {
		return errors.New("nameroute is going down")
	}
	p.notify(reloading())
	defer p.notify(daemon.SdNotifyReady)
	raw := p.loader.snapshot()
	p.saw(raw.hash())
	f, err := p.loader.parse(raw)
	if err != nil {
		return err
	}
	var lists error                                // of those the last good content stays in use
	for _, m := range slices.Backward(p.members) { // the resolver first: it may refuse them
		if err := m.Use(f); errors.Is(err, dataplane.ErrList) {
			lists = err
		} else if err != nil {
			return err
		}
	}
	p.inUse.Store(f)
	p.save(f)
	return lists
}
