package daemon

import (
	"context"
	"path/filepath"
	"time"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/pkg/filewatch"
)

const (
	// watchSettle is the quiet after a change before the files are read: an editor
	// writes more than once.
	watchSettle = 300 * time.Millisecond
	// watchPoll finds what no notice told of. It is also how often files that could not
	// be taken up are tried again.
	watchPoll = 30 * time.Second
)

// saw notes what lay there when the files were last read.
func (p *process) saw(sum digest) { p.seen.Store(&sum) }

// look asks for a reload where gateway.yaml, the Corefile or a file that it imports is
// another than when they were last read, right or wrong.
func (p *process) look() {
	raw := p.loader.now()
	if seen := p.seen.Load(); seen != nil && raw.hash() != *seen {
		p.reloads.ask()
	}
}

// watchFiles looks whenever something happens beside the files. Lists and providers'
// files are watched by who reads them. It returns when ctx ends.
func (p *process) watchFiles(ctx context.Context) {
	go p.retryFailed(ctx)
	var imports []string // of the last Corefile whose imports could be read
	files := func() []string {
		raw := p.loader.now()
		if raw.text != nil {
			imports = importsOf(raw.text)
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
	}, p.look)
}

// importsOf are the files that a Corefile imports, and in each folder that its
// patterns reach into one for those that may come.
func importsOf(t *corefile.Text) []string {
	files := append([]string(nil), t.Files...)
	for _, dir := range t.Dirs {
		files = append(files, filepath.Join(dir, "*"))
	}
	return files
}

// retryFailed has files that could not be used tried again: what they name, such as
// a list, may be there by now.
func (p *process) retryFailed(ctx context.Context) {
	poll := time.NewTicker(watchPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			if p.failing.Load() {
				p.reloads.retry()
			}
		}
	}
}
