package main

import (
	"errors"

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
