package main

import (
	"fmt"
	"math"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/logging"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// options are the flags that every command takes.
type options struct {
	paths.Paths
	logFormat string
}

// graceful marks a command that ends by its context. The others have nothing to clean up:
// a signal ends them at once.
func graceful(c *cobra.Command) *cobra.Command {
	c.Annotations = map[string]string{gracefulKey: "true"}
	return c
}

const (
	gracefulKey   = "graceful"
	logFormatFlag = "log-format"
)

func rootCommand() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "nameroute",
		Short: "A DNS-driven split-routing gateway",
		Long: `nameroute resolves the names on your lists through a tunnel and routes their
addresses through it too; everything else takes the WAN.

Two files say what it does: gateway.yaml (routes and lists) and a Corefile (which
names take which route).`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Annotations[gracefulKey] == "" {
				signal.Reset(endSignals...)
			}
			return exit.With(exit.Usage, logging.SetFormat(o.logFormat))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := root.PersistentFlags()
	f.StringVar(&o.Config, "config", gateway.DefaultFile, "gateway.yaml: the routes and lists")
	f.StringVar(&o.Corefile, "corefile", gateway.DefaultCorefile, "Corefile: which names take which route")
	f.StringVar(&o.State, "state", gateway.DefaultState, "directory for state that survives restarts")
	f.StringVar(&o.logFormat, logFormatFlag, "text", "how to log: text or json")
	f.StringVar(&o.Run, "run-dir", gateway.DefaultRun, "directory for locks and control sockets")
	if err := completeFlags(root); err != nil {
		panic(err) // it names a flag that is not above
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exit.With(exit.Usage, err) })
	root.AddCommand(
		graceful(runCommand(o)), graceful(dnsCommand(o)), graceful(gatewayCommand(o)),
		initCommand(o), checkCommand(o), graceful(statusCommand(o)), explainCommand(o), reloadCommand(o), graceful(downCommand(o)), graceful(holdCommand(o)),
		listsCommand(o), graceful(updateCommand(o)), importCommand(),
		demoCommand(), versionCommand(),
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exit.Help},
	)
	for _, c := range root.Commands() {
		if c.Args == nil && c.Runnable() {
			c.Args, c.ValidArgsFunction = noArguments, cobra.NoFileCompletions
		}
	}
	return root
}

// knownCommand refuses a command that does not exist, and suggests the nearest one.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	hint := fmt.Sprintf("`%s --help` lists the commands", cmd.CommandPath())
	if near := problem.Nearest(args[0], known); near != "" {
		hint = "did you mean " + near + "?"
	}
	return exit.With(exit.Usage, fmt.Errorf("unknown command %q: %s", args[0], hint))
}

func noArguments(cmd *cobra.Command, args []string) error {
	if cmd.HasSubCommands() {
		return knownCommand(cmd, args)
	}
	return arguments(0, 0)(cmd, args)
}

func exactly(n int) cobra.PositionalArgs { return arguments(n, n) }

func atLeast(n int) cobra.PositionalArgs { return arguments(n, math.MaxInt) }

// arguments refuses fewer or more arguments, and shows how the command is used.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		usage := strings.TrimSuffix(cmd.UseLine(), " [flags]")
		switch {
		case len(args) < least:
			return exit.With(exit.Usage, fmt.Errorf("missing argument: want %s", usage))
		case len(args) > most:
			return exit.With(exit.Usage, fmt.Errorf("unexpected argument %q: want %s", args[most], usage))
		}
		return nil
	}
}
