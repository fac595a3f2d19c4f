package main

import (
	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/daemon"
)

func downCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove everything that nameroute set up and restore what it changed",
		Long: `Remove the nft table, the tunnels, the policy rules and the routing tables of
nameroute, and restore the sysctls that it changed. A running nameroute does it and
stops; if none is running, this command does it itself.

From then on listed names take the WAN like all others.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := control.AskAll(o.Run, "down"); err != nil {
				return err
			}
			return daemon.Remove(cmd.Context(), o.Paths)
		},
	}
}
