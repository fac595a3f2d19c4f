package main

import (
	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
)

func statusCommand(o *options) *cobra.Command {
	var asJSON, watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of routes, lists, sets and resolvers",
		Long: `Show the state of routes, lists, sets and resolvers: what is up and since when, what the
kill switch blocked, how full the sets are, which resolvers answer and how fast.

The names in the JSON are stable. The exit code is 0 if all routes are up, 10 if
one is down or changed files are not in use, 11 if nothing is bad but something is
not known, and 1 if nameroute is not running.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := status.Print
			if asJSON {
				show = status.PrintJSON
			}
			if watch {
				return status.Watch(cmd.Context(), o.Run, cmd.OutOrStdout(), show)
			}
			d, err := status.Read(o.Run)
			if err != nil {
				return err
			}
			if err := show(cmd.OutOrStdout(), d); err != nil {
				return err
			}
			return d.Verdict()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&watch, "watch", false, "refresh it every second, until Ctrl-C")
	return c
}
