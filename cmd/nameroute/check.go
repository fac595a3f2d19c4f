package main

import (
	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/check"
)

func checkCommand(o *options) *cobra.Command {
	c := check.Options{Built: buildTime()}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check both files, the lists, the providers' files and this host",
		Long: `Check gateway.yaml, the Corefile, the lists, the providers' files and this host, and
print every problem with its remedy. It changes nothing, and can run while nameroute is
running. What it has not looked at it calls unknown.

With --active it also sends probes, for 20 s at most: whether the tunnels shake hands,
their endpoints resolve and each resolver answers through its route, which way the kernel
sends packets, and what clients get.

The exit code is 0 if there is no error: warnings and what is unknown are counted in the
last line. With --active it is 11 if there is no error but something stays unknown.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Paths, c.Out = o.Paths, cmd.OutOrStdout()
			return check.Run(cmd.Context(), c)
		},
	}
	cmd.Flags().BoolVar(&c.Active, "active", false, "send probes, too")
	cmd.Flags().BoolVar(&c.JSON, "json", false, "print JSON")
	return cmd
}
