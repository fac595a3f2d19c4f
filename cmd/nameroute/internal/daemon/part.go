package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
)

// Part is one part of the process.
type Part interface {
	Run(ctx context.Context) error // until ctx ends or it cannot go on
	Ready() <-chan struct{}        // closed when it does its work
	String() string
}

// member is a part with what the process asks of it while it runs.
type member interface {
	Part
	// Use makes other files the wanted ones. Only the resolver refuses any. An error of
	// lists (dataplane.ErrList) comes of files that are used nevertheless.
	Use(*files) error
	// Down removes all that the part owns in the kernel.
	Down(context.Context) error
	// Report adds what the part knows to the status.
	Report(*status.Doc)
	// Check returns an error if the part does not respond.
	Check(context.Context) error
}

// group runs parts. It starts them in order and stops them in the reverse order.
type group struct {
	running []*running
	ended   chan *running // the first part that ended without being stopped
}

func newGroup() group { return group{ended: make(chan *running, 1)} }

type running struct {
	part Part
	stop context.CancelFunc
	done chan struct{}
	err  error // of Run, once done is closed
}

// failure returns why a part that ended without being stopped ends the process.
func (r *running) failure() error {
	if r.err == nil {
		return fmt.Errorf("the %s ended", r.part)
	}
	return fmt.Errorf("the %s ended: %w", r.part, r.err)
}

// start runs a part until stop. The end of ctx alone does not end it.
func (g *group) start(ctx context.Context, p Part) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{part: p, stop: cancel, done: make(chan struct{})}
	g.running = append(g.running, r)
	go func() {
		r.err = p.Run(ctx)
		close(r.done) // before it is reported: stop returns the errors of the others
		if ctx.Err() != nil {
			return
		}
		select {
		case g.ended <- r:
		default: // the first one ends the process
		}
	}()
}

// awaitReady returns when every part is ready, one has ended, or ctx ends. The error is
// that of the part, without its name.
func (g *group) awaitReady(ctx context.Context) error {
	for _, r := range g.running {
		select {
		case <-r.part.Ready():
		case failed := <-g.ended:
			if failed.err != nil {
				return failed.err
			}
			return failed.failure()
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// stop ends the parts, each when those that were started after it have ended, and
// returns what went wrong with ending.
func (g *group) stop() error {
	var errs []error
	for i := len(g.running) - 1; i >= 0; i-- {
		r := g.running[i]
		select {
		case <-r.done:
			continue // its error has been returned already
		default:
		}
		r.stop()
		<-r.done
		errs = append(errs, r.err)
	}
	return errors.Join(errs...)
}
