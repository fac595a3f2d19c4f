package daemon

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/nftsim"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/plugin/pkg/aliases"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// dataplanePart is the owner of the nft table and of the aliases.
type dataplanePart struct {
	options Options
	first   *files
	opened  chan struct{}                        // closed when the plugins can use it
	running atomic.Pointer[dataplane.Controller] // nil before it is opened
}

func newDataplane(o Options, f *files) *dataplanePart {
	return &dataplanePart{options: o, first: f, opened: make(chan struct{})}
}

func (d *dataplanePart) String() string              { return "dataplane" }
func (d *dataplanePart) Check(context.Context) error { return nil }

// Ready returns a channel that is closed when the plugins can use the dataplane. What the
// Corefile needs of it, which may be nothing, is there when the resolver is ready.
func (d *dataplanePart) Ready() <-chan struct{} { return d.opened }

// Run opens the dataplane for the plugins and runs it.
func (d *dataplanePart) Run(ctx context.Context) error {
	names := aliases.New()
	c, err := dataplane.New(dataplane.Options{Config: d.first.config, State: d.options.State, IsAlias: names.Has, Holder: newHolder(d.options), MarkWriters: nftsim.NameMarkWriters})
	if err != nil {
		return err
	}
	saving, stop := context.WithCancel(context.WithoutCancel(ctx))
	saved := names.Persist(saving, aliases.File(d.options.State), slog.Default())
	instance.SetDefaults(d.options.Config, d.options.State) // of further gateway.yaml
	withdraw := instance.Provide(c, names)
	d.running.Store(c)
	close(d.opened)
	err = c.Run(ctx)
	withdraw()
	stop()
	<-saved
	return err
}

// Use makes the configuration of other files the one in force, where the resolver has not
// done that already. The error is one of lists, of which the last good content stays.
func (d *dataplanePart) Use(f *files) error {
	c := d.running.Load()
	if c == nil {
		return nil // the resolver has not started with the first files either
	}
	if c.Config() != f.config {
		c.SetConfig(f.config)
	}
	return c.ListErrors()
}

// Down removes the nft table.
func (d *dataplanePart) Down(ctx context.Context) error {
	if c := d.running.Load(); c != nil {
		return c.Down(ctx)
	}
	return nil
}

func (d *dataplanePart) Report(doc *status.Doc) {
	s, ok, err := instance.ReadStatus(d.options.Config)
	doc.Problem(err)
	if ok {
		doc.AddDNS(s)
		if c := d.running.Load(); c != nil {
			doc.AddMarkWriters(nftsim.NameMarkWriters, c.Config().Mask)
		}
	}
}
