package daemon

import (
	"context"
	"path/filepath"
	"time"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/pkg/filewatch"
	"github.com/nameroute/nameroute/gateway/policy"
)

const (
	// watchSettle is how long the files must be unchanged before they are read: editors
	// write more than once.
	watchSettle = 300 * time.Millisecond
	// watchPoll is the interval of polling, which finds what inotify misses, and of retries
	// of files that failed.
	watchPoll = 30 * time.Second
)

// markRead records what the files held when they were last read.
func (p *process) markRead(d digest) { p.lastRead.Store(&d) }

// checkChanges requests a reload if gateway.yaml, the Corefile, a file that it imports or a
// certificate has changed since they were last read, valid or not.
func (p *process) checkChanges() {
	raw := p.loader.now()
	if last := p.lastRead.Load(); last != nil && raw.hash() != *last {
		p.reloads.request()
	}
}

// watchFiles checks the files whenever something happens in their directories. Lists and
// providers' files are watched by their readers. It returns when ctx ends.
func (p *process) watchFiles(ctx context.Context) {
	go p.retryFailed(ctx)
	go p.followAddresses(ctx)
	var imports []string // of the last Corefile whose imports could be read, and its certificates
	files := func() []string {
		raw := p.loader.now()
		if raw.text != nil {
			imports = append(importsOf(raw.text), certificates(raw.text)...)
		}
		all := append([]string{p.o.Config}, imports...)
		if p.loader.resolver {
			all = append(all, p.o.Corefile)
		}
		return all
	}
	filewatch.Run(ctx, filewatch.Options{
		Files: files, Settle: watchSettle, Poll: watchPoll,
		Warn: func(err error) {
			p.log.Warn("configuration files cannot be watched, polling them every 30 s", "error", err)
		},
	}, p.checkChanges)
}

// importsOf returns the files that a Corefile imports, and a pattern for each directory
// in which further files would be imported.
func importsOf(t *corefile.Text) []string {
	files := append([]string(nil), t.Files...)
	for _, dir := range t.Dirs {
		files = append(files, filepath.Join(dir, "*"))
	}
	return files
}

// retryFailed retries files that failed: what they name, such as a list, may exist by
// now.
func (p *process) retryFailed(ctx context.Context) {
	every(ctx, watchPoll, func() {
		if p.failing.Load() != nil {
			p.reloads.retry()
		}
	})
}

// every calls f at an interval until ctx ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// followAddresses requests a reload when an interface that the Corefile binds has got or
// lost an address. It returns when ctx ends.
func (p *process) followAddresses(ctx context.Context) {
	if !p.loader.resolver {
		return
	}
	changed := make(chan struct{}, 1)
	go func() {
		err := policy.Watch(ctx, func(k policy.Kind) {
			if k&(policy.Links|policy.Addrs) != 0 {
				select {
				case changed <- struct{}{}:
				default:
				}
			}
		})
		if err != nil {
			p.log.Warn("addresses of interfaces cannot be followed, looking every 30 s", "error", err)
		}
	}()
	poll := time.NewTicker(watchPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-poll.C:
		}
		select { // an interface gets its addresses one by one
		case <-ctx.Done():
			return
		case <-time.After(watchSettle):
		}
		for _, m := range p.members {
			if r, ok := m.(*resolver); ok && r.boundElsewhere() {
				p.reloads.request()
			}
		}
	}
}
