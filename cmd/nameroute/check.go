package main

import (
	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/check"
)

func checkCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check both files, the lists, the providers' files and this host",
		Long: `Check gateway.yaml, the Corefile, the lists, the providers' files and this host, and
print every problem with its remedy. It changes nothing, and can run while nameroute is
running.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return check.Run(check.Options{Paths: o.Paths, Built: buildTime(), Out: cmd.OutOrStdout()})
		},
	}
}
