// Command nameroute is a DNS-driven split-routing gateway: listed names through a
// tunnel, everything else via the WAN.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/logging"
	"github.com/nameroute/nameroute/corefile/plugins"
	"github.com/nameroute/nameroute/gateway/pkg/wallclock"
)

func main() { os.Exit(run(os.Args[1:])) }

// printFatal prints the error that ends the program, as an object where its log has
// objects.
func printFatal(root *cobra.Command, err error) {
	if format, _ := root.PersistentFlags().GetString(logFormatFlag); format == "json" {
		logging.New("nameroute").Error(err.Error(), "exit_code", exit.Code(err))
		return
	}
	fmt.Fprintln(os.Stderr, "nameroute:", err)
}

// endSignals end a command.
var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM}

// run executes one command line and returns the exit code.
func run(args []string) int {
	if err := plugins.Register(); err != nil {
		fmt.Fprintln(os.Stderr, "nameroute:", err)
		return exit.Failure
	}
	wallclock.Built = buildTime()
	root := rootCommand()
	root.SetArgs(args)
	ctx, stop := signal.NotifyContext(context.Background(), endSignals...)
	defer stop()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exit.OK
	}
	if !exit.Reported(err) {
		printFatal(root, err)
	}
	return exit.Code(err)
}
