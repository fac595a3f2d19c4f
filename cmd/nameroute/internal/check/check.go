// Package check checks both files, what they name, and this machine, and says what is
// wrong, each with its remedy. It changes nothing.
package check

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/certs"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/probe"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
)

// Options are what to check, and where to.
type Options struct {
	paths.Paths
	Built  time.Time // when this program was built; zero where that is not known
	Out    io.Writer
	Active bool // send probes, too
	JSON   bool
}

// Run checks everything and prints what it finds. The error has been printed already and
// carries the exit code.
func Run(ctx context.Context, o Options) error {
	r := &report{out: o.Out}
	if o.JSON {
		r.out = nil
	}
	cfg, core := checkFiles(o, r)
	if cfg != nil {
		checkLocal(cfg, r)
		checkHost(cfg, core, o.Built, r)
	}
	checkProcess(o, core, r)
	checkRunning(ctx, o, cfg, core, r)
	err := r.end(o.Active)
	if o.JSON {
		return errors.Join(r.printJSON(o.Out), err)
	}
	return err
}

// Files checks the two files and what they name, and nothing else of this machine.
func Files(o Options) error {
	r := &report{out: o.Out}
	checkFiles(o, r)
	return r.end(false)
}

// Host looks at the machine as a running process does again and again: at what may change
// without its files. It returns what is not good.
func Host(cfg *gateway.Config, core *corefile.File) []status.Finding {
	r := &report{}
	checkLinks(cfg, r)
	checkResolvers(cfg, core, r)
	checkUpstreams(cfg, core, r)
	checkDefault(cfg, core, r)
	r.addAll(certs.Look(core, time.Now()))
	checkHost(cfg, core, time.Time{}, r)
	r.addAll(probe.Egresses(cfg))
	return slices.DeleteFunc(r.findings, func(f status.Finding) bool { return f.State == status.Good })
}

// checkFiles checks the two files and what they name, in the order in which a person
// would fix them. What cannot be parsed is returned as nil.
func checkFiles(o Options, r *report) (*gateway.Config, *corefile.File) {
	cfg, err := o.Gateway()
	if err != nil {
		r.wrong(exit.Config, err)
	} else {
		r.ok("%s: %s, %s", o.Config, output.Count(len(cfg.Routes), "route"), output.Count(len(cfg.Lists), "list"))
		for _, n := range cfg.Notes {
			r.warn("%v", n)
		}
	}
	core := checkCorefile(o, cfg, r)
	if cfg != nil {
		checkLists(cfg.WithState(o.State), r)
		checkProviders(cfg, r)
		checkLinks(cfg, r)
		checkResolvers(cfg, core, r)
		checkUpstreams(cfg, core, r)
		checkDefault(cfg, core, r)
	}
	r.addAll(certs.Look(core, time.Now()))
	return cfg, core
}
