package daemon

import (
	"context"
	"log/slog"
	"sync"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/updater"
)

// updaterPart keeps the lists that have a URL fresh. Where the resolver runs in the same
// process it begins after it: no start waits for a download.
type updaterPart struct {
	options Options
	log     *slog.Logger
	after   <-chan struct{} // nil: begin at once
	ready   chan struct{}

	mu      sync.Mutex
	config  *gateway.Config
	updater *updater.Updater // nil until it begins
}

func newUpdater(o Options, f *files, log *slog.Logger, after <-chan struct{}) *updaterPart {
	return &updaterPart{options: o, log: log, after: after, ready: make(chan struct{}), config: f.config}
}

func (u *updaterPart) String() string              { return "updater" }
func (u *updaterPart) Ready() <-chan struct{}      { return u.ready }
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
	u.begin().Run(ctx)
	return nil
}

func (u *updaterPart) begin() *updater.Updater {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.updater = updater.New(updater.Options{Config: u.config, State: u.options.State, Log: u.log, Timers: u.options.Updater})
	close(u.ready)
	return u.updater
}

func (u *updaterPart) Use(f *files) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.config = f.config
	if u.updater != nil {
		u.updater.SetConfig(f.config)
	}
	return nil
}
