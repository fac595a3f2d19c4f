package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func reloadCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the running nameroute read its files again",
		Long: `Have the running nameroute read gateway.yaml, the Corefile, the lists and the
providers' files again. Where one of them is wrong, what runs goes on and this says why.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := askAll(o.run, "reload")
			if n == 0 {
				return errors.Join(err, fmt.Errorf("%w: start it with `nameroute run`", errNobody))
			}
			return err
		},
	}
}
