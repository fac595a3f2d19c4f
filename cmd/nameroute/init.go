package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/setup"
)

func initCommand(o *options) *cobra.Command {
	var s setup.Options
	c := &cobra.Command{
		Use:   "init",
		Short: "Look at this box and write gateway.yaml and a Corefile for it",
		Long: `Look at this box, ask for what cannot be seen, and write gateway.yaml, a Corefile and
an empty list for it. Files that are there already are never replaced: then nothing is
written. Nothing else is changed.

With --yes nothing is asked: what is plain is taken, and what is not must be said with
the other flags.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !s.Yes && cmd.InOrStdin() == os.Stdin && !term.IsTerminal(int(os.Stdin.Fd())) {
				return exit.With(exit.Usage, errors.New("there is no terminal to ask on: give --yes, and flags for what cannot be seen"))
			}
			s.Paths, s.In, s.Out = o.Paths, cmd.InOrStdin(), cmd.OutOrStdout()
			return setup.Init(s)
		},
	}
	c.Flags().StringSliceVar(&s.LAN, "lan", nil, "interfaces of your clients, with commas between")
	c.Flags().StringVar(&s.WAN, "wan", "", "interface of the WAN, or auto")
	c.Flags().StringVar(&s.WireGuard, "wireguard", "", "the provider's WireGuard file, or the interface of another tunnel")
	c.Flags().StringVar(&s.List, "list", "", "your list, a file or a URL; without it an empty one is made")
	c.Flags().BoolVar(&s.Yes, "yes", false, "ask nothing")
	return c
}
