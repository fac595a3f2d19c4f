package main

import (
	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/daemon"
)

func downCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take out everything that is ours and put back what was changed",
		Long: `Take out everything that is ours: the nft table, the tunnels, the policy rules and
routing tables; and put back the sysctls that were changed. The running nameroute does
it and ends; where none runs, this does it itself.

From then on listed names take the WAN like all others.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := control.AskAll(o.Run, "down"); err != nil {
				return err
			}
			return daemon.Remove(cmd.Context(), o.Paths)
		},
	}
}
