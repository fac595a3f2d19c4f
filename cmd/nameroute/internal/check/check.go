// Package check checks both files, what they name, and this machine, and says what is
// wrong, each with its remedy. It changes nothing.
package check

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/lists"
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
		checkPitfalls(cfg, listenersOf(core), o.Built, r)
	}
	checkHost(o, core, r)
	return r.end()
}

// Files checks the two files and what they name, and nothing else of this machine.
func Files(o Options) error {
	r := &report{out: o.Out}
	checkFiles(o, r)
	return r.end()
}

// report gathers what `check` finds. The exit code is that of the first problem.
type report struct {
	out      io.Writer
	problems int
	warnings int
	code     int
}

func (r *report) ok(format string, args ...any) {
	fmt.Fprintf(r.out, "ok       %s\n", fmt.Sprintf(format, args...))
}

func (r *report) warn(format string, args ...any) {
	r.warnings++
	fmt.Fprintf(r.out, "warning  %s\n", fmt.Sprintf(format, args...))
}

// wrong prints a problem; an error that joins several is printed as several.
func (r *report) wrong(code int, err error) {
	for _, e := range flatten(err) {
		r.problems++
		if r.code == 0 {
			r.code = code
		}
		fmt.Fprintf(r.out, "wrong    %s\n", strings.ReplaceAll(e.Error(), "\n", "\n         "))
	}
}

func (r *report) end() error {
	switch {
	case r.problems > 0:
		fmt.Fprintf(r.out, "%s, %s\n", output.Count(r.problems, "problem"), output.Count(r.warnings, "warning"))
		return &exit.Error{Code: r.code}
	case r.warnings > 0:
		fmt.Fprintf(r.out, "no problem, %s\n", output.Count(r.warnings, "warning"))
	default:
		fmt.Fprintln(r.out, "no problem")
	}
	return nil
}

// flatten takes joined errors and lists of problems apart.
func flatten(err error) []error {
	var p problem.Problems
	if errors.As(err, &p) {
		var all []error
		for _, e := range p {
			all = append(all, e)
		}
		return all
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range j.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
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
	}
	return cfg, core
}

func checkLists(cfg *gateway.Config, r *report) {
	for _, l := range cfg.Lists {
		rep, err := lists.Check(l)
		if src, fetched := cfg.Source(l.Name); fetched && errors.Is(err, fs.ErrNotExist) {
			r.warn("list %s: not fetched yet from %s; what runs does it by itself, or `nameroute update %s`", l.Name, src.URLs[0], l.Name)
			continue
		}
		if err != nil {
			r.wrong(exit.List, err)
			continue
		}
		if rep.Entries() == 0 {
			r.warn("list %s: %s is empty", l.Name, l.File)
			continue
		}
		r.ok("list %s: %s, %s", l.Name, output.Count(rep.Entries(), "entry"), rep.Format)
		for _, s := range rep.Samples {
			r.warn("list %s: %s: %v", l.Name, l.File, s)
		}
		if more := rep.Skipped - len(rep.Samples); more > 0 {
			r.warn("list %s: %s more that mean nothing", l.Name, output.Count(more, "line"))
		}
	}
}

func checkProviders(cfg *gateway.Config, r *report) {
	for _, route := range cfg.Routes {
		if route.Egress.Kind != gateway.EgressWireGuard {
			continue
		}
		conf, err := provider.Load(route.Egress.File)
		if err == nil {
			err = conf.CheckHooks(route.Hooks)
		}
		if err != nil {
			for _, err := range flatten(err) {
				r.wrong(exit.Host, fmt.Errorf("route %s stays closed: %w", route.Name, err))
			}
			continue
		}
		for _, n := range conf.Ignored {
			r.warn("%s", n)
		}
		v4, v6 := conf.Families()
		switch {
		case !v4 && !v6:
			r.wrong(exit.Host, fmt.Errorf("route %s: %s: no address family has both an Address and AllowedIPs", route.Name, route.Egress.File))
		case !v6:
			r.ok("route %s: %s; no IPv6, so AAAA of its names is answered with no data", route.Name, output.Count(len(conf.Peers), "peer"))
		default:
			r.ok("route %s: %s", route.Name, output.Count(len(conf.Peers), "peer"))
		}
	}
}
