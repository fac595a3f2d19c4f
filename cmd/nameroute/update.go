package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/daemon"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/updater"
)

func updateCommand(o *options) *cobra.Command {
	var flags updater.Flags
	var daemonize bool
	var every time.Duration
	c := &cobra.Command{
		Use:   "update [NAME...]",
		Short: "Fetch the lists that have a url",
		Long: `Fetch the lists that have a url, those named or all, whether they are due or not. What
comes is checked before it is used; a running nameroute takes it up by itself.

With --daemon it stays and fetches each list when it is due, as 'nameroute run' does by
itself. SIGHUP has it read gateway.yaml again.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, names []string) error {
			if daemonize && (len(names) > 0 || flags.DryRun || flags.Force || flags.Diff) {
				return exit.With(exit.Usage, fmt.Errorf("--daemon fetches every list when it is due: give no names and none of --dry-run, --force, --diff"))
			}
			if err := privilege.Need(); err != nil {
				return err
			}
			if daemonize {
				return daemon.Run(cmd.Context(), daemon.Options{
					Paths: o.Paths, Parts: []control.Part{control.Update}, Version: version, Updater: updater.Timers{Every: every},
				})
			}
			cfg, err := o.Gateway()
			if err != nil {
				return exit.With(exit.Config, err)
			}
			return updateOnce(cmd.Context(), cmd.OutOrStdout(), o, cfg, names, flags)
		},
	}
	f := c.Flags()
	f.BoolVar(&flags.DryRun, "dry-run", false, "fetch and check, and change nothing")
	f.BoolVar(&flags.Force, "force", false, "fetch what has not changed too, and let lists shrink")
	f.BoolVar(&flags.Diff, "diff", false, "print the names that came and went")
	f.BoolVar(&daemonize, "daemon", false, "stay, and fetch each list when it is due")
	f.DurationVar(&every, "every", 0, "with --daemon: the time between two fetches, instead of each list's own")
	return c
}

// updateOnce fetches and tells what became of each list.
func updateOnce(ctx context.Context, out io.Writer, o *options, cfg *gateway.Config, names []string, flags updater.Flags) error {
	if len(cfg.Sources) == 0 && len(names) == 0 {
		fmt.Fprintf(out, "%s has no list with url\n", o.Config)
		return nil
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		p := &progress{out: os.Stderr}
		flags.Progress = p.show
		defer p.clear()
	}
	u := updater.New(updater.Options{Config: cfg, State: o.State})
	failed := 0
	results, err := u.Update(ctx, names, flags)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	for _, r := range results {
		printResult(out, r, flags.DryRun)
		if r.Err != nil {
			failed++
		}
	}
	if failed > 0 {
		return exit.With(exit.List, fmt.Errorf("%s of %d not fetched; the content in use stays", output.Count(failed, "list"), len(results)))
	}
	return nil
}

func printResult(out io.Writer, r updater.Result, dry bool) {
	what := string(r.Outcome)
	if dry && r.Outcome == updater.Updated {
		what = "would be updated"
	}
	switch {
	case r.Err != nil:
		fmt.Fprintf(out, "%s: %s: %v\n", r.List, what, r.Err)
	case r.Outcome == updater.Updated:
		fmt.Fprintf(out, "%s: %s: %d rules (%d before)\n", r.List, what, r.Report.Entries()+r.Report.Prefixes, r.Before)
	default:
		fmt.Fprintf(out, "%s: %s: %d rules\n", r.List, what, r.Before)
	}
	if r.Unsaved != nil {
		fmt.Fprintf(out, "%s: it will be fetched again: %v\n", r.List, r.Unsaved)
	}
	for _, n := range r.Came {
		fmt.Fprintf(out, "+ %s\n", n)
	}
	for _, n := range r.Went {
		fmt.Fprintf(out, "- %s\n", n)
	}
}

// progress shows on one line of a terminal how far a download is.
type progress struct {
	out  io.Writer
	last time.Time
}

func (p *progress) show(list string, received, total int64) {
	if time.Since(p.last) < 100*time.Millisecond && received != total {
		return
	}
	p.last = time.Now()
	if total > 0 {
		fmt.Fprintf(p.out, "\r\x1b[K%s: %s of %s", list, bytesText(received), bytesText(total))
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s: %s", list, bytesText(received))
}

func (p *progress) clear() { fmt.Fprint(p.out, "\r\x1b[K") }

// bytesText prints a size in the units of 1024 that gateway.yaml takes.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1fG", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1fM", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1fK", float64(n)/(1<<10))
	}
	return fmt.Sprint(n)
}
