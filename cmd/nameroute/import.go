package main

import (
	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/setup"
)

func importCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Write nameroute's files from another program's",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(importDnsmasqCommand())
	return c
}

func importDnsmasqCommand() *cobra.Command {
	var i setup.ImportOptions
	c := &cobra.Command{
		Use:   "dnsmasq FILE...",
		Short: "Write gateway.yaml, a Corefile and lists from a dnsmasq configuration",
		Long: `Write gateway.yaml, a Corefile and lists from a dnsmasq configuration and the files
that it includes: its resolvers, sets, answers and local names. What is not carried over
is printed with what to do instead. Existing files are not replaced without --force.`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i.Files, i.Out = args, cmd.OutOrStdout()
			return setup.ImportDnsmasq(i)
		},
	}
	c.Flags().StringVar(&i.Dir, "out", "nameroute-import", "directory to write to")
	c.Flags().BoolVar(&i.Force, "force", false, "replace existing files")
	return c
}
