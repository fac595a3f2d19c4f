// Command nameroute is a DNS-driven split-routing gateway: listed names through a
// tunnel, everything else via the WAN.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/corefile/plugins"
)

func main() { os.Exit(run(os.Args[1:])) }

// endSignals end a command.
var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM}

// run executes one command line and returns the exit code.
func run(args []string) int {
	if err := plugins.Register(); err != nil {
		fmt.Fprintln(os.Stderr, "nameroute:", err)
		return exit.Failure
	}
	root := rootCommand()
	root.SetArgs(args)
	ctx, stop := signal.NotifyContext(context.Background(), endSignals...)
	defer stop()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exit.OK
	}
	if !exit.Reported(err) {
		fmt.Fprintln(os.Stderr, "nameroute:", err)
	}
	return exit.Code(err)
}
