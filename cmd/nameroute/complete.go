package main

import (
	"errors"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/spf13/cobra"
)

// completeFlags says what a shell offers after a flag. What is not named here
// completes to files, which is right for --config and --corefile.
func completeFlags(root *cobra.Command) error {
	formats := cobra.FixedCompletions([]cobra.Completion{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)
	return errors.Join(
		root.MarkPersistentFlagDirname("state"),
		root.MarkPersistentFlagDirname("run-dir"),
		root.RegisterFlagCompletionFunc("log-format", formats),
	)
}

// completeLists offers the names of lists in gateway.yaml for the first arguments.
func (o *options) completeLists(most int, rest cobra.ShellCompDirective, which func(*gateway.Config, gateway.List) bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
		cfg, err := o.Gateway()
		if err != nil || len(args) >= most {
			return nil, rest
		}
		for _, l := range cfg.Lists {
			if which(cfg, l) && !slices.Contains(args, l.Name) {
				names = append(names, l.Name)
			}
		}
		return names, rest
	}
}

// fetched reports whether a list is fetched.
func fetched(cfg *gateway.Config, l gateway.List) bool {
	_, ok := cfg.Source(l.Name)
	return ok
}
