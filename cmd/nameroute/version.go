package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// The linker sets these: -X main.version=v1.2.3 -X main.buildDate=1772366400.
var (
	version   = "development build"
	buildDate string // in seconds since 1970
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and what it was built with",
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "nameroute %s, %s %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			if at := buildTime(); !at.IsZero() {
				fmt.Fprintf(out, ", built %s", at.UTC().Format(time.DateOnly))
			}
			fmt.Fprintln(out)
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return nil
			}
			for _, d := range info.Deps {
				switch d.Path {
				case "github.com/coredns/coredns", "github.com/google/nftables", "golang.zx2c4.com/wireguard":
					fmt.Fprintf(out, "  %s %s\n", d.Path, d.Version)
				}
			}
			return nil
		},
	}
}

// buildTime returns when this program was built: what the linker was told, else the
// date of the commit that Go recorded. It is zero where neither is known.
func buildTime() time.Time {
	if seconds, err := strconv.ParseInt(buildDate, 10, 64); err == nil {
		return time.Unix(seconds, 0)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, _ := time.Parse(time.RFC3339, s.Value) // zero where it is none
			return t
		}
	}
	return time.Time{}
}
