package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
)

func reloadCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the running nameroute read its files again",
		Long: `Have the running nameroute read gateway.yaml, the Corefile, the lists and the
providers' files again. Where one of them is wrong, what runs goes on and this says why.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := control.AskAll(o.Run, "reload")
			if n == 0 {
				return errors.Join(err, fmt.Errorf("%w: start it with `nameroute run`", control.ErrNotRunning))
			}
			return err
		},
	}
}
