package check

import (
	"errors"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// checkCorefile checks the Corefile and returns it parsed, nil where that fails. Without a
// valid gateway.yaml nothing is said about the routes and lists that it names.
func checkCorefile(o Options, cfg *gateway.Config, r *report) *corefile.File {
	raw, err := statefile.ReadFile(o.Corefile)
	if err != nil {
		r.wrong(exit.Corefile, paths.ReadError("Corefile", "corefile", o.Corefile, err))
		return nil
	}
	text, err := corefile.Expand(o.Corefile, raw)
	if err != nil {
		r.wrong(exit.Corefile, err)
		return nil
	}
	f, err := text.Parse()
	if problems := corecheck.Check(text, cfg); len(problems) > 0 || err != nil {
		r.wrong(exit.Corefile, errors.Join(problems...)) // err is one of them
		return f
	}
	r.ok("%s: %s", o.Corefile, output.Count(len(f.Blocks), "block"))
	for _, b := range corecheck.Describe(f) {
		r.ok("  %s", b)
	}
	checkServing(f, r)
	for _, n := range corecheck.Notes(f) {
		r.warn("%s", n)
	}
	return f
}

// listenersOf returns what a Corefile listens on: nothing where it cannot be parsed.
func listenersOf(f *corefile.File) []firewall.Listener {
	if f == nil {
		return nil
	}
	return instance.Listeners(f)
}
