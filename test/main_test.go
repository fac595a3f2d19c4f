// Package test runs nameroute as a user does: the real binary on the box of a lab,
// real clients, real resolvers, real packets.
package test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// binary is the nameroute that the tests run.
var binary string

func TestMain(m *testing.M) {
	// A ready binary is given where there is no Go to build one (test/vm).
	if !netlab.Inside() && os.Getenv("NAMEROUTE_BINARY") == "" {
		dir, err := os.MkdirTemp("", "nameroute-test")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		defer os.RemoveAll(dir)
		os.Setenv("NAMEROUTE_BINARY", filepath.Join(dir, "nameroute"))
		if err := build(os.Getenv("NAMEROUTE_BINARY")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		flag.Parse()
		buildOld(dir, flag.Lookup("test.run").Value.String())
	}
	binary = os.Getenv("NAMEROUTE_BINARY")
	netlab.Main(m)
}

// build makes the binary with the race detector where the tests have it.
func build(to string) error {
	args := []string{"build", "-o", to}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "../cmd/nameroute")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return nil
}
