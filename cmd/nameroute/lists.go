package main

import "github.com/spf13/cobra"

// listsCommand is `lists`, which shows them, with what can be done to one below it.
func listsCommand(o *options) *cobra.Command {
	c := listsTableCommand(o)
	c.AddCommand(rollbackCommand(o))
	return c
}
