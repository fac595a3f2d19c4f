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
	"github.com/nameroute/nameroute/cmd/nameroute/internal/listing"
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
		Long: `Fetch the lists that have a url, the named ones or all, whether they are due or not.
What is fetched is checked before it is used; a running nameroute uses it at once.

With --daemon it keeps running and fetches each list when it is due, as 'nameroute run'
does. SIGHUP reloads gateway.yaml.`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: o.completeLists(1000, cobra.ShellCompDirectiveNoFileComp, fetched),
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
	f.BoolVar(&flags.Force, "force", false, "fetch unchanged lists too, and accept lists that shrink")
	f.BoolVar(&flags.Diff, "diff", false, "print the entries that were added and removed")
	f.BoolVar(&daemonize, "daemon", false, "keep running, and fetch each list when it is due")
	f.DurationVar(&every, "every", 0, "with --daemon: the interval between two fetches, instead of each list's own")
	return c
}

// updateOnce fetches and tells what became of each list.
func updateOnce(ctx context.Context, out io.Writer, o *options, cfg *gateway.Config, names []string, flags updater.Flags) error {
	if len(cfg.Sources) == 0 && len(names) == 0 {
		fmt.Fprintf(out, "no list in %s has a url\n", o.Config)
		return nil
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		p := &listing.Progress{Out: os.Stderr}
		flags.Progress = p.Show
		defer p.Clear()
	}
	u := updater.New(updater.Options{Config: cfg, State: o.State})
	failed := 0
	results, err := u.Update(ctx, names, flags)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	for _, r := range results {
		listing.PrintResult(out, r, flags.DryRun)
		if r.Err != nil {
			failed++
		}
	}
	if failed > 0 {
		return exit.With(exit.List, fmt.Errorf("%s of %d not fetched, keeping the current content", output.Count(failed, "list"), len(results)))
	}
	return nil
}
