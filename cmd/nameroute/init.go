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
		Short: "Write gateway.yaml and a Corefile for this box",
		Long: `Look at this box, ask for what cannot be detected, and write gateway.yaml, a Corefile
and an empty list. Existing files are never replaced: if there is one, nothing is
written. Nothing else is changed.

With --yes it asks nothing: what is ambiguous must be given by the other flags.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !s.Yes && cmd.InOrStdin() == os.Stdin && !term.IsTerminal(int(os.Stdin.Fd())) {
				return exit.With(exit.Usage, errors.New("no terminal to ask on: use --yes, and flags for what cannot be detected"))
			}
			s.Paths, s.In, s.Out = o.Paths, cmd.InOrStdin(), cmd.OutOrStdout()
			return setup.Init(s)
		},
	}
	c.Flags().StringSliceVar(&s.LAN, "lan", nil, "interfaces of your clients, separated by commas, or none")
	c.Flags().StringVar(&s.WAN, "wan", "", "interface of the WAN, or auto")
	c.Flags().StringVar(&s.WireGuard, "wireguard", "", "the provider's WireGuard file, or the interface of another tunnel")
	c.Flags().StringVar(&s.List, "list", "", "your list, a file or a URL; default: a new, empty list")
	c.Flags().BoolVar(&s.Yes, "yes", false, "ask nothing")
	return c
}
