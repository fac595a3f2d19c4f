package daemon

import (
	"context"
	"log/slog"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/updater"
)

// updaterPart keeps the lists that have a URL fresh. Where the resolver runs in the same
// process it begins after it: no start waits for a download.
type updaterPart struct {
	*updater.Updater
	after <-chan struct{} // nil: begin at once
}

func newUpdater(o Options, f *files, log *slog.Logger, after <-chan struct{}) *updaterPart {
	return &updaterPart{updater.New(updater.Options{Config: f.config, State: o.State, Log: log, Timers: o.Updater}), after}
}

func (u *updaterPart) Down(context.Context) error  { return nil }
func (u *updaterPart) Report(*status.Doc)          {}
func (u *updaterPart) Check(context.Context) error { return nil }

func (u *updaterPart) Run(ctx context.Context) error {
	if u.after != nil {
		select {
		case <-u.after:
		case <-ctx.Done():
			return nil
		}
	}
	return u.Updater.Run(ctx)
}

func (u *updaterPart) Use(f *files) error {
	u.SetConfig(f.config)
	return nil
}
