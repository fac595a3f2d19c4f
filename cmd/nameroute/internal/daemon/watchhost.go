package daemon

import (
	"context"
	"log/slog"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/check"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/corefile"
)

const (
	// firstLook is the time after the start at which the host is looked at first: whatever
	// starts along with this process has its rules in place by then.
	firstLook = 10 * time.Second
	// lookRetry is the time between two looks whether check_interval is on again.
	lookRetry = 10 * time.Second
)

// watchHost looks at the host again and again, as `nameroute check` does, and logs what has
// changed. It returns when ctx ends.
func (p *process) watchHost(ctx context.Context) {
	for pause := firstLook; ; {
		select {
		case <-ctx.Done():
			return
		case <-p.look:
		case <-time.After(pause):
		}
		f := p.inUse.Load()
		if pause = f.config.CheckInterval; pause == 0 {
			p.checks.Store(nil)
			pause = lookRetry
			continue
		}
		var core *corefile.File
		if f.text != nil {
			core, _ = f.text.Parse() // it runs
		}
		p.noteChecks(&status.Checks{At: time.Now(), Findings: check.Host(f.config, core)})
	}
}

// lookNow has the host looked at without a wait: what was found may have been mended.
func (p *process) lookNow() {
	select {
	case p.look <- struct{}{}:
	default: // it is about to be
	}
}

// noteChecks replaces the findings of the last look, and logs those that are new and those
// that are gone.
func (p *process) noteChecks(now *status.Checks) {
	before := map[status.Finding]bool{}
	if old := p.checks.Swap(now); old != nil {
		for _, f := range old.Findings {
			before[f] = true
		}
	}
	for _, f := range now.Findings {
		if !before[f] {
			level := slog.LevelWarn
			if f.Level == status.LevelError {
				level = slog.LevelError
			}
			p.log.Log(context.Background(), level, "a check of the host fails", "state", f.State, "what", f.Text)
		}
		delete(before, f)
	}
	for f := range before {
		p.log.Info("a check of the host no longer fails", "what", f.Text)
	}
}
