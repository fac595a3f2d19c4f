// Command nameroute is a DNS-driven split-routing gateway: listed names through a
// tunnel, everything else by the WAN.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/corefile/plugins"
)

func main() { os.Exit(run(os.Args[1:])) }

// run executes one command line and returns the exit code.
func run(args []string) int {
	if err := plugins.Register(); err != nil {
		fmt.Fprintln(os.Stderr, "nameroute:", err)
		return exit.Failure
	}
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exit.OK
	}
	if !exit.Reported(err) {
		fmt.Fprintln(os.Stderr, "nameroute:", err)
	}
	return exit.Code(err)
}
