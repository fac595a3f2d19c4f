package daemon

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway/dataplane"
)

// reloadQueue holds the requests for a reload that has not begun. All sources of requests
// (SIGHUP, changed files, `nameroute reload`, CoreDNS's reload plugin) share it: the main
// loop reloads once for all requests that wait.
type reloadQueue struct {
	due chan struct{} // a request waits

	mu      sync.Mutex
	waiting []chan<- error
	wanted  bool  // it is not only a retry, whose failure has been logged before
	closed  error // the answer to further requests; nil while they are served
}

func newReloadQueue() *reloadQueue { return &reloadQueue{due: make(chan struct{}, 1)} }

// request asks for a reload. The channel receives its result.
func (q *reloadQueue) request() <-chan error {
	done := make(chan error, 1)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		done <- q.closed
		return done
	}
	q.waiting, q.wanted = append(q.waiting, done), true
	q.wake()
	return done
}

// retry asks for a reload of files that failed before. A repeated failure is not logged.
func (q *reloadQueue) retry() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.wake()
	}
}

func (q *reloadQueue) wake() {
	select {
	case q.due <- struct{}{}:
	default: // one is due already
	}
}

// take empties the queue, for the reload that begins now.
func (q *reloadQueue) take() (waiting []chan<- error, wanted bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting, wanted = q.waiting, q.wanted
	q.waiting, q.wanted = nil, false
	return waiting, wanted
}

// close answers waiting and further requests with an error.
func (q *reloadQueue) close(reason error) {
	q.mu.Lock()
	q.closed = reason
	q.mu.Unlock()
	waiting, _ := q.take()
	answer(waiting, reason)
}

func answer(waiting []chan<- error, err error) {
	for _, done := range waiting {
		done <- err
	}
}

// reloadNow requests a reload and waits for its result.
func (p *process) reloadNow(ctx context.Context) error {
	select {
	case err := <-p.reloads.request():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serveReload reloads once for all waiting requests.
func (p *process) serveReload() {
	waiting, wanted := p.reloads.take()
	err := p.reload()
	listsOnly := errors.Is(err, dataplane.ErrList)
	failed := p.noteRefusal(err, listsOnly)
	switch {
	case err == nil && failed:
		p.log.Info("reload complete, the files are in use again")
	case err == nil:
		p.log.Info("reload complete")
	case !wanted: // logged before
	case listsOnly:
		p.log.Error("reload complete, but a list keeps its last good content", "error", err)
	default:
		p.log.Error("reload failed, keeping the running configuration", "error", err)
	}
	if err != nil && wanted {
		reloadFailed.Inc()
	}
	if wanted {
		p.lookNow()
	}
	answer(waiting, err)
}

// noteRefusal records why the files are not in use, for `status`, and reports whether they
// were not before.
func (p *process) noteRefusal(err error, listsOnly bool) (before bool) {
	old := p.failing.Load()
	switch {
	case err == nil || listsOnly:
		p.failing.Store(nil)
	case old == nil:
		p.failing.Store(&status.Refused{Error: err.Error(), Since: time.Now()})
	default:
		p.failing.Store(&status.Refused{Error: err.Error(), Since: old.Since})
	}
	return old != nil
}

// reload reads the files and uses them if all of them are valid.
func (p *process) reload() error {
	p.changing.Lock()
	defer p.changing.Unlock()
	if p.ending.Load() {
		return errors.New("nameroute is going down")
	}
	p.notify(reloading())
	defer p.notify(daemon.SdNotifyReady)
	raw := p.loader.snapshot()
	p.markRead(raw.hash())
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
