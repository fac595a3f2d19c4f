package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/daemon"
)

const everythingGone = "all that it set up is removed, and what it changed is restored: listed names take the WAN"

func downCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove everything that nameroute set up and restore what it changed",
		Long: `Remove the nft table, the tunnels, the policy rules and the routing tables of
nameroute, and restore the sysctls that it changed. A running nameroute does it and
stops; if none is running, this command does it itself.

From then on listed names take the WAN like all others.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reached, err := control.AskAll(o.Run, "down")
			if err != nil {
				return err
			}
			removed, err := daemon.Remove(cmd.Context(), o.Paths)
			if err != nil {
				return err
			}
			text := "nothing to remove: nameroute does not run and has left nothing"
			switch {
			case reached > 0:
				text = "nameroute has ended; " + everythingGone
			case removed:
				text = "nameroute does not run; " + everythingGone
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
}
