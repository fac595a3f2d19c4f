package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify sends systemd a state. It does nothing in a process that systemd did not start.
func (p *process) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		p.log.Warn("systemd cannot be notified", "state", state, "error", err)
	}
}

// reloading returns the state before a reload, which READY=1 ends.
func reloading() string { return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec() }

// feedWatchdog feeds systemd's watchdog for as long as this process responds. It returns
// at once if the unit has no WatchdogSec=, else when ctx ends.
func (p *process) feedWatchdog(ctx context.Context) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		p.log.Warn("systemd's watchdog settings cannot be read", "error", err)
		return
	}
	if limit == 0 {
		return
	}
	checks := []func(context.Context) error{p.checkMainLoop}
	for _, m := range p.members {
		checks = append(checks, m.Check)
	}
	pause := limit / 4 // one failed check does not end the process
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := within(ctx, pause, checks); err != nil {
			if ctx.Err() == nil {
				p.log.Error("not responding; systemd restarts this process unless it recovers", "error", err, "limit", limit)
			}
			continue
		}
		p.notify(daemon.SdNotifyWatchdog)
	}
}

// within runs the checks, all of them within one limit.
func within(ctx context.Context, limit time.Duration, checks []func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, check := range checks {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// checkMainLoop asks the main loop, which a reload that never ends would block.
func (p *process) checkMainLoop(ctx context.Context) error {
	select {
	case p.alive <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errors.New("the main loop is stuck")
	}
}
