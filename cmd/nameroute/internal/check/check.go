// Package check checks both files, what they name, and this machine, and says what is
// wrong, each with its remedy. It changes nothing.
package check

import (
	"io"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
)

// Options are what to check, and where to.
type Options struct {
	paths.Paths
	Built time.Time // when this program was built; zero where that is not known
	Out   io.Writer
}

// Run checks everything and prints what it finds. The error has been printed already and
// carries the exit code.
func Run(o Options) error {
	r := &report{out: o.Out}
	cfg, core := checkFiles(o, r)
	if cfg != nil {
		checkHost(cfg, listenersOf(core), o.Built, r)
	}
	checkProcess(o, core, r)
	return r.end()
}

// Files checks the two files and what they name, and nothing else of this machine.
func Files(o Options) error {
	r := &report{out: o.Out}
	checkFiles(o, r)
	return r.end()
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
	}
	return cfg, core
}
