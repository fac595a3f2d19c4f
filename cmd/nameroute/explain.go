package main

import (
	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/explain"
)

func explainCommand(o *options) *cobra.Command {
	var asJSON bool
	e := explain.Options{}
	c := &cobra.Command{
		Use:   "explain NAME|ADDRESS|URL",
		Short: "Explain which way a name goes, and what would change that",
		Long: `Explain which way a name, an address or a URL goes: the verdict in one sentence, then every
fact that decides it in the order in which it does: the lists with file and line, the block of
the Corefile, the question asked now, each address with the sets that hold it, what the
kernel does with a packet, the flows that exist; and what would change it.

The name is asked for as the client would ask: the answer is cached and learned from. With
--probe a connection is tried by that way, too, from this box.

The exit code is 0 if it goes as the files say, 10 if something stands against that, 11 if
something is not known, and 1 if nameroute is not running.`,
		Args:              exactly(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			e.Paths, e.Target = o.Paths, args[0]
			d, err := explain.Gather(cmd.Context(), e)
			if err != nil {
				return err
			}
			show := explain.Print
			if asJSON {
				show = explain.PrintJSON
			}
			if err := show(cmd.OutOrStdout(), d); err != nil {
				return err
			}
			return d.ExitError()
		},
	}
	c.Flags().StringVar(&e.Client, "client", "", "address or MAC address of the client; the box itself by default")
	c.Flags().StringSliceVar(&e.Types, "type", nil, "types of records to ask for; A and AAAA by default")
	c.Flags().BoolVar(&e.Probe, "probe", false, "try a connection, too")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	for flag, values := range map[string][]cobra.Completion{"client": nil, "type": {"A", "AAAA", "HTTPS", "SVCB", "MX", "SRV", "TXT"}} {
		if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // it names a flag that is not above
		}
	}
	return c
}
