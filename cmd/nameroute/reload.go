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
		Short: "Reload the files of the running nameroute",
		Long: `Reload gateway.yaml, the Corefile, the lists and the providers' files of the running
nameroute. If one of them is invalid, the running configuration stays in use and the
reason is printed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := control.AskAll(o.Run, "reload")
			if n == 0 {
				return errors.Join(err, fmt.Errorf("%w: start it with `nameroute run`", control.ErrNotRunning))
			}
			return err
		},
	}
}
