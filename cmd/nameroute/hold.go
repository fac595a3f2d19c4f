package main

import (
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
	"github.com/nameroute/nameroute/gateway/pkg/hold"
)

func holdCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "hold",
		Short: "Keep the nft table owned while nameroute is stopped",
		Long: `Keep the socket that owns the nft table open while nameroute is stopped or dead, so
that no other program can flush the table. It does nothing else, and needs no
privilege. nameroute starts it where none runs; nameroute-hold.service does so in a
control group of its own, which a stop of nameroute does not end.

'nameroute down' ends it. Ending it by itself leaves the table, and to everybody.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := privilege.Drop(); err != nil {
				return err
			}
			return hold.Serve(cmd.Context(), o.Run, func() {
				_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // false, nil where systemd has not started it
			})
		},
	}
}
